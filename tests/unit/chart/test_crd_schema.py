"""The CRD's schema: rules that name their field, limits everywhere, and the models beside it.

Each of the schema and the models is written by hand: descriptions and CEL have no place in a model,
and a program that trusted the schema alone would trust every resource stored before a rule existed.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from cnpg_plugin_operator.api.rules import SIDECAR_FIELDS
from cnpg_plugin_operator.api.spec import TLS, Spec
from cnpg_plugin_operator.api.status import SECTIONS
from cnpg_plugin_operator.api.untrusted import Flag, Many, Named, Number, Section, Shape, Text
from tests.support.chart.rendering import CRD

Schema = dict[str, Any]

REASONS = {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"}
"""Not FieldValueDuplicate: the API server then omits the rule's message."""

COMPARED = (
    "type", "pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems", "maxProperties",
)  # fmt: skip


@functools.cache
def schema(part: str) -> Schema:
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def walk(part: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every part of a schema with its path, keys and elements included."""
    yield path, part
    for name, child in part.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(part.get(key), dict):
            yield from walk(part[key], f"{path}{mark}")


PARTS = {path: part for top in ("spec", "status") for path, part in walk(schema(top), top)}
RULES = [
    pytest.param(part, rule, id=f"{path} {rule['message'][:40]}")
    for path, part in PARTS.items()
    for rule in part.get("x-kubernetes-validations", [])
]


@pytest.mark.parametrize(("part", "rule"), RULES)
def test_every_rule_has_a_reason_and_names_the_field(part: Schema, rule: Schema) -> None:
    assert rule["reason"] in REASONS
    names = rule.get("fieldPath", "").split(".")[1:]
    # A rule about all the keys of a map, or about which of several fields there are, has none.
    keys = "additionalProperties" in part or re.search(r"self[.]all\(k|exactly one", str(rule))
    assert names or keys or part["type"] != "object" or "spec.serviceAccount" in rule["message"]
    for name in names:
        part = part["properties"][name]


def test_every_name_has_a_pattern() -> None:
    for path, part in PARTS.items():
        name = path.rpartition(".")[2].removesuffix("[]")
        if path.startswith("spec.") and part.get("type") == "string" and name.endswith("ame"):
            chosen_by_a_rule = path.startswith("spec.podTemplate.")
            assert "pattern" in part or chosen_by_a_rule, path


def test_everything_has_a_limit() -> None:
    bounded = {
        "enum",
        "format",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    }
    for path, part in PARTS.items():
        if part.get("type") == "string":
            assert "maxLength" in part or bounded & part.keys(), path
        if part.get("type") == "array":
            assert "maxItems" in part, path
        if "additionalProperties" in part:
            assert "maxProperties" in part, path


def test_the_probes_are_written_once() -> None:
    assert CRD.read_text().count("Succeeds if a TCP connection to the port can be opened") == 1
    probes = schema("spec")["properties"]["probes"]["properties"]
    assert probes["startup"]["properties"] == probes["liveness"]["properties"]


def resolve(model: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A model's schema without references and without the null of an optional field."""
    while "$ref" in model or "anyOf" in model:
        if "$ref" in model:
            found = definitions[model["$ref"].rpartition("/")[2]]
        else:
            [found] = [each for each in model["anyOf"] if each.get("type") != "null"]
        model = {**found, **{k: v for k, v in model.items() if k not in ("$ref", "anyOf")}}
    return model


def pairs(
    ours: Schema, theirs: Schema, definitions: Mapping[str, Schema], path: str = "spec"
) -> Iterator[Any]:
    """What the models and the CRD say about the same field."""
    if {"integer", "string"} <= {each.get("type") for each in ours.get("anyOf", [])}:
        assert theirs["x-kubernetes-int-or-string"] is True
        return
    ours = resolve(ours, definitions)
    if ours.get("additionalProperties") is True or ours.get("format") == "duration":
        # Passed on to the API server, or parsed by a function with tests of its own.
        return
    yield pytest.param(ours, theirs, id=path)
    for name in sorted(ours.get("properties", {}).keys() & theirs.get("properties", {}).keys()):
        below = ours["properties"][name], theirs["properties"][name]
        yield from pairs(*below, definitions, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(ours.get(key), dict):
            yield from pairs(ours[key], theirs[key], definitions, f"{path}.{key}")


MODELS = Spec.model_json_schema(by_alias=True)


@pytest.mark.parametrize(("ours", "theirs"), list(pairs(MODELS, schema("spec"), MODELS["$defs"])))
def test_models_and_schema_accept_the_same(ours: Schema, theirs: Schema) -> None:
    assert {key: ours.get(key) for key in COMPARED} == {key: theirs.get(key) for key in COMPARED}
    chosen = ours.get("enum") or ([ours["const"]] if "const" in ours else [])
    assert sorted(chosen) == sorted(theirs.get("enum", []))
    assert ours.get("properties", {}).keys() == theirs.get("properties", {}).keys()
    assert sorted(ours.get("required", [])) == sorted(theirs.get("required", []))


def shapes(shape: Shape, part: Schema, path: str) -> Iterator[Any]:
    """What the program reads and writes of a status, and what the CRD keeps of it."""
    yield pytest.param(shape, part, id=path)
    if isinstance(shape, Section):
        for name, each in shape.fields.items():
            yield from shapes(each, part["properties"][name], f"{path}.{name}")
    elif isinstance(shape, Many):
        yield from shapes(shape.each, part["items"], f"{path}[]")


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        each
        for name, section in SECTIONS.items()
        for each in shapes(section, schema("status")["properties"][name], f"status.{name}")
    ],
)
def test_the_status_that_is_written_fits_into_the_schema(shape: Shape, part: Schema) -> None:
    match shape:
        case Section(fields):
            assert (part["type"], part["properties"].keys()) == ("object", fields.keys())
        case Text(limit):
            assert part["type"] == "string"
            assert part.get("format") == "date-time" or part["maxLength"] == limit
        case Many(_, most):
            assert (part["type"], part["maxItems"]) == ("array", most)
        case Named(most, limit):
            assert part["maxProperties"] == most
            assert part["additionalProperties"]["maxLength"] == limit
        case Number():
            assert (part["type"], part["minimum"]) == ("integer", 0)
        case Flag():
            assert part["type"] == "boolean"


FOREIGN_TO_SIDECARS = [name for name in Spec.model_fields if name not in SIDECAR_FIELDS]


@pytest.mark.parametrize("name", FOREIGN_TO_SIDECARS)
def test_the_schema_refuses_what_a_sidecar_cannot_have(name: str) -> None:
    rules = schema("spec")["x-kubernetes-validations"]
    found = [rule for rule in rules if rule["rule"].startswith("self.mode != 'Sidecar' ||")]
    [rule] = [rule for rule in found if rule["fieldPath"] == f".{to_camel(name)}"]
    parts = TLS.model_fields if name == "tls" else ()
    for path in [f"self.{to_camel(name)}", *(f"self.tls.{to_camel(part)}" for part in parts)]:
        assert path in rule["rule"]
