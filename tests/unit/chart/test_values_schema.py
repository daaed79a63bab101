"""Which values the chart refuses before anything is rendered."""

import json
from typing import Any

import pytest
import yaml

from tests.support.chart.rendering import CHART, RenderError, Values, render_text

REFUSED: dict[str, tuple[Values, str]] = {
    "an unknown top-level value": ({"replicas": 3}, "replicas"),
    "a misspelt value of the image": ({"image": {"repo": "x"}}, "repo"),
    "a misspelt value of the CRDs": ({"crds": {"install": True}}, "install"),
    "a misspelt value of a monitor": ({"metrics": {"podMonitor": {"on": True}}}, "on"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "a digest without algorithm": ({"image": {"digest": "0123"}}, "digest"),
    "an unknown restart policy": ({"defaults": {"restartPolicy": "Maybe"}}, "restartPolicy"),
    "an unknown certificate provider": ({"defaults": {"tlsProvider": "Vault"}}, "tlsProvider"),
    "Secrets by default": ({"defaults": {"tlsProvider": "Secrets"}}, "tlsProvider"),
    "no namespace": ({"cnpg": {"namespaces": []}}, "namespaces"),
    "a namespace that cannot exist": ({"cnpg": {"namespaces": ["Not_One"]}}, "namespaces"),
    "one namespace twice": ({"cnpg": {"namespaces": ["a", "a"]}}, "namespaces"),
    "a namespace that is no list": ({"cnpg": {"namespaces": "cnpg-system"}}, "namespaces"),
    "a duration without unit": ({"restart": {"settle": "10"}}, "settle"),
    "a duration as a number": ({"restart": {"cooldown": 300}}, "cooldown"),
    "an unknown log level": ({"log": {"level": "loud"}}, "level"),
    "an unknown log format": ({"log": {"format": "xml"}}, "format"),
    "a role list as text": ({"allowedRoles": "barman-cloud"}, "allowedRoles"),
    "a role name with a comma": ({"allowedClusterRoles": ["a,b"]}, "allowedClusterRoles"),
    "a wildcard among accounts is no list": ({"allowedServiceAccounts": "*"}, "allowedService"),
    "a word among issuers is no list": ({"allowedIssuers": "all"}, "allowedIssuers"),
    "an issuer by its name alone": ({"allowedIssuers": [{"name": "a"}]}, "allowedIssuers"),
    "an issuer with a comma": (
        {"allowedIssuers": [{"name": "a,*", "kind": "Issuer"}]},
        "allowedIssuers",
    ),
    "an issuer with a namespace": (
        {"allowedIssuers": [{"name": "a", "kind": "Issuer", "namespace": "b"}]},
        "allowedIssuers",
    ),
    "a port out of range": ({"metrics": {"service": {"port": 70000}}}, "port"),
    "an annotation that is no text": ({"podAnnotations": {"a": 1}}, "podAnnotations"),
    "a variable without name": ({"extraEnv": [{"value": "x"}]}, "extraEnv"),
    "a resource with an unknown field": ({"resources": {"request": {}}}, "request"),
}


@pytest.mark.parametrize(("values", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_values_are_named(values: Values, named: str) -> None:
    with pytest.raises(RenderError) as refusal:
        render_text(values)
    assert "values don't meet the specifications of the schema" in str(refusal.value)
    assert named in str(refusal.value)


def test_global_values_of_other_charts_are_accepted() -> None:
    assert render_text({"global": {"postgresql": {"auth": {}}, "storageClass": "fast"}})


def _objects(schema: dict[str, Any], path: str = "values") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)] if schema.get("type") == "object" else []
    for name, child in schema.get("properties", {}).items():
        found += _objects(child, f"{path}.{name}")
    return found


def test_schema_and_values_have_the_same_fields() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(part: dict[str, Any], given: dict[str, Any], path: str) -> None:
        properties = part.get("properties")
        if properties is None:
            return
        only_for_parents = {"enabled"} if path == "values" else set()
        open_ended = {"claims"} if path == "values.resources" else set()
        assert set(properties) - only_for_parents - open_ended == set(given), path
        for name, value in given.items():
            if isinstance(value, dict):
                compare(properties[name], value, f"{path}.{name}")

    compare(schema, values, "values")


def test_the_schema_describes_every_value_and_is_strict() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path, part in _objects(schema):
        assert part.get("description"), path
        if "properties" in part:
            assert part["additionalProperties"] is False, path


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    undocumented = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.strip()
        and not line.strip().startswith(("#", "-"))
        and not before.strip().startswith("#")
        and not before.strip().endswith(":")
        and not line.startswith("    ")
        and line.split(":")[0] not in TOP_LEVEL_GROUPS
    ]
    # Only the parts of a documented default (resources, security settings) have none.
    assert undocumented == [
        "  limits:",
        "  runAsUser: 65532",
        "  runAsGroup: 65532",
        "  seccompProfile:",
        "  readOnlyRootFilesystem: true",
        "  capabilities:",
    ]


TOP_LEVEL_GROUPS = {"image", "crds", "rbac", "serviceAccount", "cnpg", "log", "metrics"} | {
    "networkPolicy"
}
