"""The chart as Helm renders it, without a cluster."""

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import builds

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "cnpg-plugin-operator"
CRD = ROOT / "crds" / "cnpgplugin.dev_cnpgplugins.yaml"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
RELEASE = "release"
NAMESPACE = "operators"
FULLNAME = f"{RELEASE}-cnpg-plugin-operator"
REPOSITORY = "registry.example.com/cnpg-plugin-operator"
"""The image's repository, if a test names none: the chart has no default for it."""

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class RenderError(Exception):
    """Helm's message about values or templates that it refuses."""


def render_text(
    values: Values | None = None,
    *,
    chart: Path = CHART,
    release: str = RELEASE,
    kubernetes: str = "1.34.0",
    helm: builds.Program = builds.HELM,
) -> str:
    """Render the chart with values over its defaults and REPOSITORY; raises RenderError."""
    return _helm(helm, ["template", release, str(chart), "--kube-version", kubernetes], values)


def lint(values: Values | None = None, *, helm: builds.Program = builds.HELM) -> str:
    """Have Helm judge the chart with values; raises RenderError with what it finds."""
    return _helm(helm, ["lint", str(CHART), "--strict"], values)


def _helm(helm: builds.Program, arguments: list[str], values: Values | None) -> str:
    given = dict(values or {})
    given["image"] = {"repository": REPOSITORY, **given.get("image", {})}
    # JSON is YAML; no other source of values, and no kubeconfig, is used.
    done = subprocess.run(
        [builds.find(helm), *arguments, "--namespace", NAMESPACE, "--values", "-"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RenderError(f"{done.stdout}{done.stderr}")
    return done.stdout


def parse(text: str) -> list[Manifest]:
    """Read a stream of YAML documents; skip empty ones."""
    # The parser in C, if PyYAML has it: the other one takes half a second for the CRD alone.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, Loader=loader) if document]


@functools.cache
def _render(values: str, release: str) -> list[Manifest]:
    return parse(render_text(json.loads(values), release=release))


def render(values: Values | None = None, *, release: str = RELEASE) -> list[Manifest]:
    """Render the chart's objects. Tests share them and must not change them."""
    return _render(json.dumps(dict(values or {}), sort_keys=True), release)


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    """The objects of one kind."""
    return [item for item in objects if item["kind"] == kind]


def one(objects: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only object of a kind, or of a kind and name."""
    found = [
        item for item in of_kind(objects, kind) if name is None or item["metadata"]["name"] == name
    ]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def container(objects: list[Manifest]) -> Manifest:
    """The operator's container."""
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    [only] = pod["containers"]
    return dict(only)


def environment(objects: list[Manifest]) -> dict[str, Any]:
    """The variables of the operator's container that have a plain value."""
    return {item["name"]: item["value"] for item in container(objects)["env"] if "value" in item}
