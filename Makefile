# Every target is one command; `make` alone lists them. The logic is in the commands, not here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
IMAGE ?= localhost/cnpg-plugin-operator:dev
PYTEST_ARGS ?=
# What `make demo` shows: sample or backup.
DEMO ?= sample
# With KUBECONFIG, `make demo` uses that cluster and the image IMAGE; YES=1 agrees to what it installs.
DEMO_ARGS = $(if $(filter file,$(origin IMAGE)),,--image $(IMAGE)) $(if $(YES),--yes)
# Processes of `make test`: all but one with a cluster of their own.
WORKERS ?= 5
# Where the image of `make release` will be pushed to; its manifest names it.
REPOSITORY ?= registry.example.com/cnpg-plugin-operator
LOCK := uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url

# Many processes import the same modules: each is compiled once, also where the environment says no.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help prepared compiled starting demo demo-down test unit unit-all integration e2e thorough problems histories matrix upgrades quick-start dev alerts helm-4 campaign soak bench cluster cluster-down peers image lint format lock audit release release-check venv docs docs-check docs-serve reference

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## show the product, or a backup and a restore (DEMO=backup), on a cluster; keeps running
	$(PYTHON) -m tests.demo --show $(DEMO) $(DEMO_ARGS)

demo-down: ## remove the cluster of `make demo`, or what it installed in the one of KUBECONFIG
	$(PYTHON) -m tests.demo --down $(if $(YES),--yes)

test: ## run all checks: lint, unit, integration and e2e tests (root, a real cluster)
	@$(MAKE) --no-print-directory --jobs=2 prepared
	$(BIN)/pytest -n $(WORKERS) --durations=40 --durations-min=1 $(PYTEST_ARGS)

unit: venv ## run the fast tests that need no cluster: after each change (15 seconds)
	$(BIN)/pytest tests/unit --fast -n 2 --durations=5 --durations-min=1 $(PYTEST_ARGS)

unit-all: venv ## run all tests that need no cluster (minutes)
	$(BIN)/pytest tests/unit $(PYTEST_ARGS)

integration: venv peers ## run the tests against a real API server
	$(BIN)/pytest tests/integration $(PYTEST_ARGS)

e2e: venv peers ## test the installed operator with CNPG, cert-manager and a plugin
	$(BIN)/pytest tests/e2e $(PYTEST_ARGS)

thorough: venv peers ## run the e2e tests with all rows of their tables (hours)
	CNPGP_THOROUGH=1 $(BIN)/pytest tests/e2e $(PYTEST_ARGS)

problems: venv peers ## reproduce, name and remedy each known problem, and write its page (half an hour)
	CNPGP_THOROUGH=1 $(BIN)/pytest tests/e2e/test_known_problems.py \
		tests/e2e/test_older_cnpg.py::test_restart_policy_never_reports_the_need_and_restarts_nothing \
		$(PYTEST_ARGS)
	$(BIN)/python -m tests.documentation

histories: venv ## try 2,000 random histories in memory, and all examples of property tests (an hour)
	CNPGP_THOROUGH=1 $(BIN)/pytest tests/unit -m hypothesis -n 2 $(PYTEST_ARGS)

matrix: venv ## run the same tests on every version of CNPG and Kubernetes, and write docs/versions.md (hours)
	$(BIN)/pytest tests/matrix $(PYTEST_ARGS)
	$(BIN)/python -m tests.matrix

upgrades: venv peers ## upgrade the operator from earlier commits, and back, while plugins are used
	$(BIN)/pytest tests/upgrades $(PYTEST_ARGS)

soak: venv peers ## leave the operator running for two hours among disturbances, and judge what grows
	$(BIN)/python -m tests.soak $(SOAK_ARGS)

campaign: venv peers ## disturb the operator in every way, on its own cluster (hours; resumes)
	$(BIN)/python -m tests.campaign $(CAMPAIGN_ARGS)

alerts: venv peers ## let a real Prometheus scrape plugins in each state, then a cluster in trouble (half an hour)
	$(BIN)/pytest tests/alerts $(PYTEST_ARGS)

helm-4: venv peers ## let Helm 4 render, install and wait, and compare it with Helm 3 (Go builds it once, minutes)
	$(BIN)/pytest tests/helm $(PYTEST_ARGS)

quick-start: venv peers ## run the README's commands, and the demo, on clusters without this project's add-ons
	$(BIN)/pytest tests/quick_start $(PYTEST_ARGS)

dev: venv ## run the operator from this checkout on a cluster, again after every change
	$(BIN)/python -m tests.dev $(DEV_ARGS)

bench: venv ## measure the operator against its budgets, on its own cluster
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

cluster: ## start a real cluster on this machine, or its missing parts
	$(PYTHON) -m tests.cluster up

cluster-down: ## remove the cluster completely
	$(PYTHON) -m tests.cluster down

peers: ## build the cluster's programs and images into the cache (once, about 10 minutes)
	$(PYTHON) -m tests.cluster build

image: ## build the operator's image
	$(PYTHON) -m tests.cluster build-image . $(IMAGE) --build-arg BASE=localhost/python:3.13

# Two at once: while Go compiles, packages are downloaded and the style is checked.
prepared: starting compiled lint

# Beside mypy, which uses one processor: pytest's processes collect the tests at the same moment, and
# each would rewrite all assertions. Whatever fails here fails there again.
compiled: venv
	@$(BIN)/pytest --collect-only -qq >/dev/null 2>&1 &

# Likewise: the tests' clusters start one after the other, beside what needs one processor. Of more
# than two processes, the last one has no cluster. Where one cannot start, the tests say why.
starting: peers
	@name=$(or $(CNPGP_TEST_CLUSTER),test); last=$$(($(WORKERS) - 1 - ($(WORKERS) > 2))); \
	for suffix in '' $$(seq --format=-%.0f $$last); do \
		$(PYTHON) -m tests.cluster --name $$name$$suffix up; \
	done >/dev/null 2>&1 &

lint: venv ## check style, formatting, types, layering and the licenses of what the image contains
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/python -m config.release.licenses

release: venv ## build everything that a release consists of into dist (VERSION=0.2.0; root)
	$(BIN)/python -m config.release $(VERSION) --repository $(REPOSITORY)

release-check: venv ## build the release twice, compare both, and install it (root, a real cluster)
	$(BIN)/python -m pip install --progress-bar off --require-hashes -r requirements-release.lock
	$(BIN)/pytest tests/release $(PYTEST_ARGS)

audit: ## look the locked packages up among known vulnerabilities (needs uv and its service)
	uvx pip-audit==2.10.1 --strict --disable-pip --require-hashes -r requirements.lock -r requirements-build.lock

format: venv ## format the code and apply automatic fixes
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: venv reference ## build the documentation site into .site
	$(BIN)/python -m tests.documentation.diagrams
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

docs-check: docs ## look at the documentation site in Chromium, at two widths (needs chromium)
	$(BIN)/python -m tests.documentation.browser

docs-serve: venv reference ## show the documentation site, and every change of a page, on port 8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

reference: venv ## write the reference pages from what they describe
	$(BIN)/python -m tests.documentation

lock: ## resolve the dependencies and lock them by hash (needs uv)
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --group dev --output-file requirements-dev.lock
	$(LOCK) --group build --constraints requirements-dev.lock --output-file requirements-build.lock
	$(LOCK) --group release --constraints requirements-dev.lock --output-file requirements-release.lock

venv: $(STAMP) ## create the virtual environment of the tests from the lock

# The editable install runs the build hook, which generates the protobuf code. It uses the packages of
# the lock: an isolated build would download its requirements again, without checking hashes.
$(STAMP): requirements-dev.lock pyproject.toml hatch_build.py operator/cnpg_plugin_operator/handshake/identity.proto
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@
