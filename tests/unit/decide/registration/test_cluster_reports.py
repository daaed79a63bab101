from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, PluginStatusFacts
from cnpg_plugin_operator.decide.facts.plugin import Identity
from cnpg_plugin_operator.decide.registration.cluster_reports import choose_nudged, is_current
from tests.support.unit.builders import NOW, ago, announcement

SAID = Identity("hello.example.org", "2.0", capabilities=("METRICS", "WAL_SERVICE"))


@pytest.mark.parametrize(
    ("version", "capabilities", "current"),
    [
        pytest.param("2.0", ("TYPE_WAL_SERVICE", "TYPE_METRICS"), True, id="the same"),
        pytest.param("2.0", ("TYPE_WAL_SERVICE", "10"), True, id="one that has no name yet"),
        pytest.param("1.0", ("TYPE_WAL_SERVICE", "TYPE_METRICS"), False, id="another version"),
        pytest.param("2.0", ("TYPE_WAL_SERVICE",), False, id="one capability less"),
        pytest.param("2.0", ("TYPE_WAL_SERVICE", "9", "10"), False, id="one too many"),
        pytest.param(
            "2.0", ("TYPE_WAL_SERVICE", "TYPE_METRICS", "TYPE_POSTGRES"), False,
            id="one that the plugin no longer has",
        ),
    ],
)  # fmt: skip
def test_the_status_of_a_cluster_is_compared_with_the_handshake(
    version: str, capabilities: tuple[str, ...], *, current: bool
) -> None:
    shown = PluginStatusFacts("hello.example.org", version, capabilities)

    assert is_current(shown, SAID) is current


def user(version: str = "1.0", **facts: Any) -> ClusterFacts:
    shown = PluginStatusFacts("hello.example.org", version, ("TYPE_METRICS", "TYPE_WAL_SERVICE"))
    usual = ClusterFacts("app", "db", True, "", shown, created=ago(9000))
    return replace(usual, **facts)


@pytest.mark.parametrize(
    ("version", "cluster", "announced", "nudged"),
    [
        pytest.param("1.28.3", user("2.0"), 6, True, id="1.28.3 does not follow rollouts"),
        pytest.param("1.29.1", user("2.0"), 6, True, id="nor does 1.29.1"),
        pytest.param("1.28.4", user("2.0"), 60, False, id="1.28.4 does"),
        pytest.param("1.29.2", user("2.0"), 60, False, id="so does 1.29.2"),
        pytest.param("1.30.0", user(), 60, True, id="one that lags all the same"),
        pytest.param("1.30.0", user(), 20, False, id="one that may only be late"),
        pytest.param("1.28.3", user(), 4, False, id="the connection is not rebuilt yet"),
        pytest.param("1.28.3", user(nudged="r1"), 60, False, id="it was nudged for this"),
        pytest.param("1.28.3", user(nudged="r0"), 60, True, id="it was nudged for another"),
        pytest.param("1.28.3", user(plugin_status=None), 60, False, id="it shows nothing yet"),
        pytest.param("1.28.3", user(created=ago(5)), 60, False, id="it is younger than this"),
    ],
)
def test_a_cluster_is_nudged_once_where_cloudnativepg_would_not_reconcile(
    version: str, cluster: ClusterFacts, announced: float, *, nudged: bool
) -> None:
    chosen = choose_nudged([cluster], SAID, announcement("r1", at=ago(announced)), version, NOW)

    assert bool(chosen) is nudged
