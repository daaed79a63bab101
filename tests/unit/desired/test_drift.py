from typing import Any

import pytest

from cnpg_plugin_operator.desired.drift import find_drift
from cnpg_plugin_operator.desired.objects import stamp


def wanted(**spec: Any) -> dict[str, Any]:
    return stamp({"kind": "Thing", "metadata": {"name": "x", "annotations": {}}, "spec": spec})


def live(desired: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "Thing", "metadata": {**desired["metadata"], "uid": "1"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "returned"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="a default was added"),
        pytest.param({"cpu": "1000m"}, {"cpu": "1"}, id="a quantity was normalised"),
        pytest.param({"m": "1024Mi"}, {"m": "1Gi"}, id="a binary quantity was normalised"),
        pytest.param({"m": "1.5Gi"}, {"m": "1536Mi"}, id="a fraction was normalised"),
        pytest.param({"cpu": 1}, {"cpu": "1"}, id="a number became a quantity"),
        pytest.param({"v": "", "l": [], "o": {}}, {}, id="empty values were dropped"),
        pytest.param({"readOnly": False}, {}, id="a false was dropped"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "X"}, {"name": "A", "value": "1"}]},
            id="another manager put an element before ours",
        ),
        pytest.param({"args": ["a", "b"]}, {"args": ["a", "b"]}, id="an equal list"),
    ],
)
def test_what_the_api_server_makes_of_it_is_no_drift(
    spec: dict[str, Any], returned: dict[str, Any]
) -> None:
    desired = wanted(**spec)

    assert find_drift(desired, live(desired, **returned)) is None


@pytest.mark.parametrize(
    ("spec", "returned", "path"),
    [
        pytest.param({"a": 1}, {"a": 2}, ".spec.a", id="a value was changed"),
        pytest.param({"a": {"b": 1}}, {}, ".spec.a", id="a field was removed"),
        pytest.param({"l": ["a", "b"]}, {"l": ["b", "a"]}, ".spec.l[0]", id="the order"),
        pytest.param({"l": ["a", "b"]}, {"l": ["a"]}, ".spec.l", id="an element is gone"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "2"}]},
            ".spec.env[0].value", id="a named element was changed",
        ),
        pytest.param({"cpu": "1"}, {"cpu": "2"}, ".spec.cpu", id="another quantity"),
    ],
)  # fmt: skip
def test_what_others_changed_is_drift(
    spec: dict[str, Any], returned: dict[str, Any], path: str
) -> None:
    desired = wanted(**spec)

    assert find_drift(desired, live(desired, **returned)) == path


def test_a_missing_object_is_drift() -> None:
    assert find_drift(wanted(a=1), None) == "missing"


def test_a_field_that_is_no_longer_wanted_shows_in_the_digest() -> None:
    before = wanted(a=1, b=2)

    drift = find_drift(wanted(a=1), live(before, a=1, b=2))

    assert drift is not None
    assert "desired-hash" in drift
