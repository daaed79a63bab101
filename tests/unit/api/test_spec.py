import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.spec import parse_plugin
from cnpg_plugin_operator.errors import InvalidSpecError
from tests.support.builders import plugin, resource

LEAVES: list[Any] = [None, True, 0, -1, 70000, 1.5, "", "x", "5s", [], {}, [None], ["a"], [{}]]
JSON = st.sampled_from([*LEAVES, *({"name": leaf, "type": leaf} for leaf in LEAVES)])
FIELDS = st.sampled_from(
    ["pluginName", "image", "args", "env", "port", "tls", "service", "probes", "strategy",
     "handshake", "serviceAccount", "replicas", "podTemplate", "resources", "restartPolicy"]
)  # fmt: skip


def test_the_shortest_resource_gets_the_documented_defaults() -> None:
    spec = plugin().spec

    assert (spec.port, spec.replicas, spec.strategy.type) == (9090, 1, "Recreate")
    assert spec.handshake.timeout.total_seconds() == 5
    assert spec.handshake.interval.total_seconds() == 600
    assert spec.tls.duration.total_seconds() == 2160 * 3600
    assert spec.tls.mounts.server == "/server"
    assert spec.deletion_protection
    assert spec.restart_policy is None


def test_the_service_is_named_like_the_resource_unless_it_has_a_name() -> None:
    assert plugin("hello").service_name == "hello"
    assert plugin("hello", service={"name": "other"}).host == "other.cnpg-system.svc"


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        pytest.param({"port": 0}, "spec.port", id="a port that is none"),
        pytest.param({"image": ""}, "spec.image", id="no image"),
        pytest.param({"handshake": {"timeout": "soon"}}, "spec.handshake.timeout", id="no time"),
        pytest.param({"restartPolicy": "Maybe"}, "spec.restartPolicy", id="an unknown policy"),
        pytest.param({"mode": "Elsewhere"}, "spec.mode", id="an unknown mode"),
        pytest.param({"tls": {"clientCA": "x"}}, "spec.tls.clientCA", id="no file of a Secret"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSpecError, match=named):
        plugin(**spec)


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        plugin(env="password=hunter2")

    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_content_is_parsed_or_refused(spec: dict[str, Any]) -> None:
    body = resource()
    body["spec"] = spec
    with contextlib.suppress(InvalidSpecError):
        assert parse_plugin(body).name == "hello"
