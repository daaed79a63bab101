from typing import Any

import pytest

from cnpg_plugin_operator.desired.drift import find_drift
from cnpg_plugin_operator.desired.objects import stamp
from cnpg_plugin_operator.desired.quantities import read_quantity


def wanted(**spec: Any) -> dict[str, Any]:
    return stamp({"kind": "Thing", "metadata": {"name": "x", "annotations": {}}, "spec": spec})


def live(desired: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "Thing", "metadata": {**desired["metadata"], "uid": "1"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "returned"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="a default was added"),
        pytest.param({"v": "", "l": [], "o": {}}, {}, id="empty values were dropped"),
        pytest.param({"readOnly": False}, {}, id="a false was dropped"),
        pytest.param({"minReadySeconds": 0}, {}, id="a zero that means absent was dropped"),
        pytest.param(
            {"probe": {"periodSeconds": 0}},
            {"probe": {"periodSeconds": 10}},
            id="a zero that means absent got the default",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "X"}, {"name": "A", "value": "1"}]},
            id="another manager put an element before ours",
        ),
        pytest.param({"args": ["a", "b"]}, {"args": ["a", "b"]}, id="an equal list"),
    ],
)
def test_a_change_by_the_api_server_is_no_drift(
    spec: dict[str, Any], returned: dict[str, Any]
) -> None:
    desired = wanted(**spec)

    assert find_drift(desired, live(desired, **returned)) is None


@pytest.mark.parametrize(
    ("spec", "returned", "path"),
    [
        pytest.param({"a": 1}, {"a": 2}, ".spec.a", id="a value was changed"),
        pytest.param({"a": {"b": 1}}, {}, ".spec.a", id="a field was removed"),
        pytest.param({"replicas": 0}, {}, ".spec.replicas", id="a zero was removed"),
        pytest.param(
            {"minReadySeconds": 0}, {"minReadySeconds": 9}, ".spec.minReadySeconds",
            id="a zero that means absent was changed",
        ),
        pytest.param({"l": ["a", "b"]}, {"l": ["b", "a"]}, ".spec.l[0]", id="the order"),
        pytest.param({"l": ["a", "b"]}, {"l": ["a"]}, ".spec.l", id="an element is gone"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "2"}]},
            ".spec.env[0].value", id="a named element was changed",
        ),
        pytest.param(
            {"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ".spec.limits.cpu",
            id="another quantity",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1e3"}]}, {"env": [{"name": "A", "value": "1000"}]},
            ".spec.env[0].value", id="a text that only reads like the same quantity",
        ),
        pytest.param({"args": ["a"]}, {"args": ["a", "b"]}, ".spec.args", id="an argument more"),
        pytest.param(
            {"subjects": [{"name": "a"}]}, {"subjects": [{"name": "a"}, {"name": "b"}]},
            ".spec.subjects", id="a subject more",
        ),
        pytest.param(
            {"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}, ".spec.selector.b",
            id="a key more in a selector",
        ),
    ],
)  # fmt: skip
def test_a_change_by_others_is_drift(
    spec: dict[str, Any], returned: dict[str, Any], path: str
) -> None:
    desired = wanted(**spec)

    assert find_drift(desired, live(desired, **returned)) == path


@pytest.mark.parametrize(
    ("written", "returned"),
    [
        ("1000m", "1"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), (1, "1"), ("1e3", "1000"),
        ("1E3", "1k"), ("1E", "1000P"), (".5", "500m"), ("5.", "5"), ("1000000n", "1m"),
        ("1u", "1000n"), ("+1", "1"), ("-1", "-1000m"), ("0.1n", "1n"), ("1e-3", "1m"),
        ("1e99", "9223372036854775807"), ("1e999999999", "9223372036854775807"), ("0e9", "0"),
    ],
)  # fmt: skip
def test_a_normalized_quantity_is_no_drift(written: object, returned: str) -> None:
    desired = wanted(resources={"limits": {"cpu": written}})

    assert find_drift(desired, live(desired, resources={"limits": {"cpu": returned}})) is None


@pytest.mark.parametrize("text", ["", ".", "e3", "1ee3", "1x", "1 ", "1e3Mi", "many", "1" * 65])
def test_an_invalid_quantity_is_read_as_none(text: str) -> None:
    assert read_quantity(text) is None


def test_a_missing_object_is_drift() -> None:
    assert find_drift(wanted(a=1), None) == "missing"


def test_removing_a_field_changes_the_digest() -> None:
    before = wanted(a=1, b=2)

    drift = find_drift(wanted(a=1), live(before, a=1, b=2))

    assert drift is not None
    assert "desired-hash" in drift
