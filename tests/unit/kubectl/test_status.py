"""`status` tells each state of a plugin as the operator reported it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.kubectl.output import Style
from cnpg_plugin_operator.kubectl.status import (
    Report,
    find_users,
    is_as_wanted,
    report,
    write_all,
    write_one,
)
from tests.support.unit.builders import resource
from tests.support.unit.fake_kubectl import FakeKubectl
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import (
    another,
    in_use,
    newborn,
    progressing,
    quarantined,
    ready,
    refused,
    restarting,
    suspended,
    use,
    waiting,
)

PLAIN = Style(coloured=False)
SCREEN = 24
"""Lines of a terminal."""


def tell(stage: Stage) -> Report:
    """Tell of the stage's plugin; fail where it does not fit a screen."""
    kubectl = FakeKubectl(stage.client)
    body = kubectl.get(kinds.PLUGIN, "hello", "cnpg-system")
    told = report(body, find_users(kubectl), stage.clock())
    shown = write_one(told, PLAIN)
    assert len(shown.splitlines()) <= SCREEN
    assert told["reason"] in shown
    return told


@pytest.mark.parametrize(
    ("make", "ready", "reason", "facts", "wanted"),
    [
        (newborn, "Unknown", "NotYetReported", {"upToDate": False}, False),
        (progressing, "Unknown", "Issuing", {"upToDate": True, "deleting": False}, False),
        (ready, "True", "Ready", {"restart": None, "mode": "Standalone"}, True),
        (suspended, "True", "Ready", {"suspended": True}, True),
        (in_use, "False", "InUse", {"deleting": True}, False),
        (refused, "False", "InvalidSpec", {}, False),
        (another, "False", "IdentityMismatch", {}, False),
        (restarting, "Unknown", "RestartPending", {}, False),
        (waiting, "Unknown", "AwaitingApproval", {}, False),
        (quarantined, "False", "CrashLoop", {"mode": "Sidecar", "certificates": {}}, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_each_state_is_told(
    make: Callable[[], Any], ready: str, reason: str, facts: Mapping[str, Any], *, wanted: bool
) -> None:
    told = tell(await make())
    assert (told["ready"], told["reason"], is_as_wanted(told)) == (ready, reason, wanted)
    assert {key: told[key] for key in facts} == facts


async def test_a_change_that_the_operator_has_not_seen_is_not_as_wanted() -> None:
    stage = await ready()
    stage.client.the(kinds.PLUGIN, "hello")["metadata"]["generation"] += 1
    told = tell(stage)
    assert (told["ready"], told["upToDate"], is_as_wanted(told)) == ("True", False, False)
    assert "has not seen the last change" in write_one(told, PLAIN)


async def test_certificates_clusters_and_cloudnativepg_are_told() -> None:
    stage = await ready()
    use(stage.client, *"abcdefg")
    use(stage.client, "other", plugin="other.example.org")
    await stage.settle(passes=2)
    told = tell(stage)
    assert told["certificates"]["server"]["secretName"] == "hello-server-tls"
    assert told["certificates"]["client"]["secondsLeft"] > 0
    assert told["clusters"]["names"] == [f"app/{name}" for name in "abcdefg"]
    shown = write_one(told, PLAIN)
    assert "7 use it" in shown
    assert "app/e and 2 more" in shown
    assert "1.30.0, Deployment cnpg" in shown
    assert "Restart             none is needed" in shown


async def test_what_waits_says_how_to_approve_it_and_what_restarts_says_why() -> None:
    told = write_one(tell(await waiting()), PLAIN)
    assert "kubectl cnpg-plugin approve hello -n cnpg-system" in told
    told = write_one(tell(await restarting()), PLAIN)
    assert "Restart             RestartPending" in told


async def test_a_quarantine_is_told() -> None:
    assert "Quarantine          since" in write_one(tell(await quarantined()), PLAIN)


async def test_without_the_right_to_list_clusters_their_number_is_told() -> None:
    stage = await ready()
    use(stage.client, "db")
    await stage.settle(passes=2)
    kubectl = FakeKubectl(stage.client)
    kubectl.forbidden.add(kinds.CLUSTER)
    body = kubectl.get(kinds.PLUGIN, "hello", "cnpg-system")
    told = report(body, find_users(kubectl), stage.clock())
    assert told["clusters"]["names"] is None
    assert "1 use it" in write_one(told, PLAIN)


async def test_all_plugins_are_a_table_with_the_reasons_below() -> None:
    stage = await ready()
    stage.create("other")
    told = [report(body, None, stage.clock()) for body in stage.client.all_of(kinds.PLUGIN)]
    lines = write_all(told, PLAIN).splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["NAMESPACE", "NAME"],
        ["cnpg-system", "hello"],
        ["cnpg-system", "other"],
    ]
    assert lines[4] == "cnpg-system/other: The operator has not reported anything yet."
    coloured = write_all(told, Style(coloured=True))
    assert "\x1b[32mTrue\x1b[0m" in coloured


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1, "expired"), (90, "1m"), (7_200, "2h"), (200_000, "2d")]
)
def test_the_time_that_is_left_is_short(seconds: int, shown: str) -> None:
    told = report(resource(), None, Stage().clock())
    told["certificates"] = {"server": {"secondsLeft": seconds}}
    assert shown in write_all([told], PLAIN)


@pytest.mark.parametrize(
    "status", [None, [], {"conditions": 3}, {"conditions": [{"type": "Ready"}]}]
)
def test_a_broken_status_is_told_as_none(status: object) -> None:
    evil: Sequence[str] = ["\x1b[31mred"]
    body = {**resource(pluginName="\x1b[31mred", tls=evil), "status": status}
    told = report(body, None, Stage().clock())
    assert told["reason"] == "NotYetReported"
    assert "\x1b" not in write_one(told, PLAIN) + write_all([told], PLAIN)
