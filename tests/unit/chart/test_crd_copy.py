"""The CRD in the chart, and its agreement with the program that reads the resource."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.durations import parse_duration
from cnpg_plugin_operator.api.spec import Spec
from cnpg_plugin_operator.handshake.identity import SERVICES
from tests.support.chart.rendering import (
    CHART,
    CRD,
    Manifest,
    Values,
    of_kind,
    one,
    parse,
    render,
    render_text,
)

Schema = dict[str, Any]


@functools.cache
def source() -> Manifest:
    [loaded] = parse(CRD.read_text())
    return loaded


def root_schema() -> Schema:
    schema: Schema = source()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def spec_schema() -> Schema:
    schema: Schema = root_schema()["properties"]["spec"]
    return schema


def test_the_copy_in_the_chart_is_byte_equal() -> None:
    assert (CHART / "files" / CRD.name).read_bytes() == CRD.read_bytes()


@pytest.mark.parametrize(
    "values", [{}, {"crds": {"keep": False}}, {"commonAnnotations": {"a": "b"}}]
)
def test_the_rendered_crd_is_the_source_with_metadata(values: Values) -> None:
    rendered = one(render(values), "CustomResourceDefinition")
    assert rendered["spec"] == source()["spec"]
    assert rendered["metadata"]["name"] == source()["metadata"]["name"]


def test_selectable_fields_are_left_out_where_kubernetes_does_not_know_them() -> None:
    rendered = one(parse(render_text(kubernetes="1.29.0")), "CustomResourceDefinition")
    [expected] = source()["spec"]["versions"]
    known = {key: value for key, value in expected.items() if key != "selectableFields"}
    assert rendered["spec"]["versions"] == [known]


def test_the_crd_outlives_the_chart_by_default() -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    assert one(render(), "CustomResourceDefinition")["metadata"]["annotations"] == keep
    dropped = one(render({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert "annotations" not in dropped["metadata"]


def test_the_crd_can_be_left_to_others() -> None:
    assert of_kind(render({"crds": {"create": False}}), "CustomResourceDefinition") == []


def test_the_names_match_the_program() -> None:
    crd = source()
    assert crd["metadata"]["name"] == f"{names.resource.PLURAL}.{names.resource.GROUP}"
    assert crd["spec"]["group"] == names.resource.GROUP
    assert crd["spec"]["names"]["kind"] == names.resource.KIND
    assert crd["spec"]["names"]["shortNames"] == ["cnpgp"]
    assert crd["spec"]["names"]["categories"] == ["cnpg"]
    assert [version["name"] for version in crd["spec"]["versions"]] == [names.resource.VERSION]


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every part of a schema that has a name."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], f"{path}[]")


PARTS = {
    path: part for path, part in walk(root_schema(), "cnpgplugin") if path != "cnpgplugin.metadata"
}


@pytest.mark.parametrize("path", PARTS)
def test_every_field_has_a_description(path: str) -> None:
    description = PARTS[path].get("description", "")
    assert description.endswith("."), path
    # A sentence, unless it begins with a name or a value in lower case.
    assert description[0].isupper() or description.startswith(("cnpgplugin.", "metadata.", "true"))


def test_descriptions_state_the_defaults() -> None:
    for path, part in PARTS.items():
        default = part.get("default")
        if default in (None, {}) or path == "cnpgplugin.status":
            continue
        text = str(default).lower() if isinstance(default, bool) else str(default)
        description = part["description"]
        assert f"Default {text}" in description or f"{text} (default)" in description, path


def test_every_list_has_a_merge_strategy() -> None:
    for path, part in PARTS.items():
        if part.get("type") == "array":
            assert part["x-kubernetes-list-type"] in ("atomic", "map", "set"), path


def test_every_rule_has_a_message() -> None:
    for path, part in PARTS.items():
        for rule in part.get("x-kubernetes-validations", []):
            assert rule["message"], path


@pytest.mark.parametrize("name", ["podTemplate", "affinity", "securityContext"])
def test_parts_that_the_api_server_validates_are_kept_unchanged(name: str) -> None:
    assert spec_schema()["properties"][name]["x-kubernetes-preserve-unknown-fields"] is True


def aliases(model: type[BaseModel]) -> dict[str, str]:
    """The names of a model's fields in a resource, with those in the program."""
    return {
        str(field.validation_alias or field.alias or name): name
        for name, field in model.model_fields.items()
    }


def comparable(value: object) -> object:
    """A default in a form that both sides have."""
    if isinstance(value, BaseModel):
        fields = aliases(type(value)).items()
        return comparable({alias: getattr(value, name) for alias, name in fields})
    if isinstance(value, dict):
        parts = {name: comparable(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part}
    if isinstance(value, str) and value[:1].isdigit():
        return parse_duration(value)
    return value


def schema_default(schema: Schema) -> object:
    """The default that the API server fills in, nested defaults included."""
    if schema.get("default") == {}:
        filled = {name: schema_default(part) for name, part in schema["properties"].items()}
        return {name: value for name, value in filled.items() if value is not None}
    return schema.get("default")


PARSED = Spec.model_validate({"pluginName": "a.example.com", "image": "a"})
ALIASES = aliases(Spec)


def test_the_program_reads_every_field_of_the_schema_and_no_other() -> None:
    assert set(ALIASES) == set(spec_schema()["properties"])


@pytest.mark.parametrize("alias", sorted(set(ALIASES) - {"pluginName", "image"}))
def test_schema_and_program_fill_in_the_same_default(alias: str) -> None:
    ours = comparable(getattr(PARSED, ALIASES[alias])) or None
    theirs = comparable(schema_default(spec_schema()["properties"][alias])) or None
    assert ours == theirs


def test_the_description_uses_the_capability_names_of_the_status() -> None:
    said = root_schema()["properties"]["status"]["properties"]["plugin"]["properties"]
    written = re.findall(r"\b[A-Z]+_[A-Z_]+\b", said["capabilities"]["description"])
    assert written
    assert {*written} <= {service.name for service in SERVICES}
