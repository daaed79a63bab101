# Every target is one command; `make` alone lists them. Nothing here decides anything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
IMAGE ?= localhost/cnpg-plugin-operator:dev
PYTEST_ARGS ?=
# Processes of `make test`, each with a cluster of its own.
WORKERS ?= 4
LOCK := uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo demo-down test unit integration e2e thorough bench cluster cluster-down peers image lint format lock venv

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## a cluster, the operator, a plugin and a database that uses it; left running
	$(PYTHON) -m tests.demo

demo-down: ## remove what `make demo` started
	$(PYTHON) -m tests.demo --down

test: lint peers ## everything: lint, unit, integration and e2e tests (root, a real cluster)
	$(BIN)/pytest -n $(WORKERS) --durations=40 --durations-min=1 $(PYTEST_ARGS)

unit: venv ## tests that need no cluster: seconds
	$(BIN)/pytest tests/unit $(PYTEST_ARGS)

integration: venv peers ## tests against a real API server
	$(BIN)/pytest tests/integration $(PYTEST_ARGS)

e2e: venv peers ## tests of the installed operator with its real peers
	$(BIN)/pytest tests/e2e $(PYTEST_ARGS)

thorough: venv peers ## the end-to-end tests with all rows of their tables: hours
	CNPGP_THOROUGH=1 $(BIN)/pytest tests/e2e $(PYTEST_ARGS)

bench: ## measure the operator against its budgets, on a cluster of its own
	$(PYTHON) -m tests.bench $(BENCH_ARGS)

cluster: ## start a real cluster on this machine (or what it lacks)
	$(PYTHON) -m tests.cluster up

cluster-down: ## remove every trace of it
	$(PYTHON) -m tests.cluster down

peers: ## build the programs and images of the cluster into the cache (10 to 15 minutes, once)
	$(PYTHON) -m tests.cluster build

image: ## build the operator's image
	$(PYTHON) -m tests.cluster build-image . $(IMAGE) --build-arg BASE=localhost/python:3.13

lint: venv ## ruff, formatting, types, layering
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: venv ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: ## resolve the dependencies again and lock them by hash (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --group dev --output-file requirements-dev.lock
	$(LOCK) --group build --constraints requirements-dev.lock --output-file requirements-build.lock

venv: $(STAMP) ## the virtual environment of the tests, from the lock

# The editable install runs the build hook, which generates the protobuf code: with what the lock
# holds, for an isolated build would download its requirements once more, without looking at hashes.
$(STAMP): requirements-dev.lock pyproject.toml hatch_build.py operator/cnpg_plugin_operator/handshake/identity.proto
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
