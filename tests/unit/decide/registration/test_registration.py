from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import (
    Announcement,
    ClusterFacts,
    CNPGEvent,
    PluginStatusFacts,
)
from cnpg_plugin_operator.decide.registration.announcement import announce, keep_announcing
from cnpg_plugin_operator.decide.registration.registration import decide_registration
from cnpg_plugin_operator.decide.registration.restart_need import restart_reason
from tests.support.unit.builders import NOW, ago, announcement, cnpg, leader, registration

REREGISTERING = ["1.24.4", "1.25.2", "1.25.4", "1.26.0", "1.27.1", "1.28.4", "1.29.0", "1.30.0"]
KEEPING = ["1.24.0", "1.24.3", "1.25.0", "1.25.1"]
WARNING = CNPGEvent(True, "ServerSecretNotFound", "Secret hello-server-tls not found", ago(1))
REGISTERED = CNPGEvent(False, "PluginRegistered", "registered", ago(1))
OLD = CNPGEvent(False, "PluginRegistered", "registered", ago(600))
USER = ClusterFacts("app", "db", True, "", PluginStatusFacts("hello.example.org", "1.2.3"))
SILENT_USER = ClusterFacts("app", "db", True, "", None)


@pytest.mark.parametrize("version", [*KEEPING, *REREGISTERING])
def test_a_new_plugin_needs_no_restart_since_1_24_0(version: str) -> None:
    assert restart_reason(registration(cnpg=cnpg(version=version))) is None


@pytest.mark.parametrize("version", KEEPING)
def test_a_changed_endpoint_needs_a_restart_where_the_previous_connection_is_kept(
    version: str,
) -> None:
    changed = announcement("r2", changed_at=ago(2))

    reason = restart_reason(registration(announcement=changed, cnpg=cnpg(version=version)))

    assert reason is not None
    assert version in reason


@pytest.mark.parametrize("version", REREGISTERING)
def test_a_changed_endpoint_needs_no_restart_where_a_touch_is_enough(version: str) -> None:
    changed = announcement("r2", changed_at=ago(2))

    assert restart_reason(registration(announcement=changed, cnpg=cnpg(version=version))) is None


UNKNOWN = cnpg(version="")
LATE = announcement(at=ago(40))
ROWS = [
    pytest.param(
        {"event": REGISTERED}, Status.TRUE, Reason.REGISTERED, id="CloudNativePG wrote an Event",
    ),
    pytest.param(
        {"event": OLD}, Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="its Event is older than the announcement",
    ),
    pytest.param(
        {"clusters": (USER,)}, Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="a Cluster reports the plugin, but perhaps an earlier announcement of it",
    ),
    pytest.param(
        {"clusters": (USER,), "announcement": announcement(at=ago(40))}, Status.TRUE,
        Reason.REGISTERED, id="a Cluster reports the plugin and no Event came",
    ),
    pytest.param(
        {"clusters": (USER,), "cnpg": cnpg(version="1.28.0")}, Status.TRUE, Reason.REGISTERED,
        id="a Cluster reports the plugin to a version without Events",
    ),
    pytest.param(
        {"clusters": (SILENT_USER,)}, Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="a Cluster names the plugin but does not report it yet",
    ),
    pytest.param(
        {"registered_revision": "r0"}, Status.UNKNOWN, Reason.REREGISTERING,
        id="a previous revision was registered",
    ),
    pytest.param(
        {"registered_revision": "r1"}, Status.TRUE, Reason.REGISTERED,
        id="it was seen registered and the Event has expired since",
    ),
    pytest.param(
        {"event": WARNING}, Status.FALSE, Reason.CNPG_REJECTED, id="CloudNativePG reports an error",
    ),
    pytest.param(
        {"event": WARNING, "registered_revision": "r1"}, Status.FALSE, Reason.CNPG_REJECTED,
        id="CloudNativePG reports an error after the registration",
    ),
    pytest.param(
        {"cnpg": cnpg(version="1.28.4")}, Status.TRUE, Reason.ANNOUNCED,
        id="1.28 registers by itself and writes no Events",
    ),
    pytest.param(
        {"cnpg": cnpg(available=False)}, Status.FALSE, Reason.CNPG_UNAVAILABLE,
        id="CloudNativePG has no available replica",
    ),
    pytest.param(
        {"cnpg": cnpg(available=False, rolling=True), "registered_revision": "r1"}, Status.TRUE,
        Reason.REGISTERED, id="CloudNativePG's only pod is being replaced",
    ),
    pytest.param(
        {"cnpg": cnpg(available=False, rolling=True, stuck="pod cnpg-0: container manager keeps "
                      "exiting (Error)"), "registered_revision": "r1"},
        Status.FALSE, Reason.CNPG_UNAVAILABLE, id="CloudNativePG's only pod keeps exiting",
    ),
    pytest.param(
        {"cnpg": cnpg(leader=None)}, Status.UNKNOWN, Reason.CNPG_UNAVAILABLE,
        id="CloudNativePG's Lease has no holder",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS}, Status.UNKNOWN, Reason.RESTART_PENDING,
        id="the policy wants a restart for a new revision",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "registered_revision": "r1"}, Status.TRUE,
        Reason.REGISTERED, id="the policy became Always after the plugin was registered",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "cnpg": cnpg(restarted_for={"hello": "r1"})},
        Status.UNKNOWN, Reason.RESTARTING, id="the restart is under way",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "cnpg": cnpg(leader=leader(ago(1), hello="r1"))},
        Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="the new leader started with this revision and has not registered it yet",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "cnpg": cnpg(leader=leader(ago(1))),
         "event": REGISTERED},
        Status.TRUE, Reason.REGISTERED, id="another party restarted CloudNativePG meanwhile",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "announcement": announcement(at=ago(99)),
         "cnpg": cnpg(leader=leader(ago(60), hello="r1"))},
        Status.TRUE, Reason.ANNOUNCED,
        id="the new leader has had time enough and its Events are gone",
    ),
    pytest.param(
        {"registered_revision": "r1", "cnpg": cnpg(rolling=True, available=False, leader=None)},
        Status.TRUE, Reason.REGISTERED, id="a rollout of CloudNativePG changes nothing",
    ),
    pytest.param(
        {"registered_revision": "r1", "cnpg": cnpg(available=False)}, Status.FALSE,
        Reason.CNPG_UNAVAILABLE, id="CloudNativePG is down",
    ),
    pytest.param(
        {"policy": RestartPolicy.ALWAYS, "cnpg": cnpg(leader=leader(ago(3600), hello="r0"))},
        Status.UNKNOWN, Reason.RESTART_PENDING, id="the leader knows a previous revision",
    ),
    pytest.param(
        {"policy": RestartPolicy.NEVER}, Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="the policy forbids a restart that nothing needs",
    ),
    pytest.param(
        {"policy": RestartPolicy.NEVER, "cnpg": cnpg(version="1.25.1"),
         "announcement": announcement("r2", changed_at=ago(2))},
        Status.FALSE, Reason.RESTART_FORBIDDEN, id="the policy forbids a restart that is needed",
    ),
    pytest.param(
        {"cnpg": UNKNOWN}, Status.UNKNOWN, Reason.AWAITING_REGISTRATION,
        id="a CloudNativePG of unknown version is given time",
    ),
    pytest.param(
        {"cnpg": UNKNOWN, "announcement": LATE}, Status.UNKNOWN, Reason.RESTART_PENDING,
        id="a CloudNativePG of unknown version does not find the plugin",
    ),
    pytest.param(
        {"cnpg": UNKNOWN, "announcement": LATE, "clusters": (USER,)}, Status.TRUE,
        Reason.REGISTERED, id="a CloudNativePG of unknown version has found the plugin",
    ),
    pytest.param(
        {"cnpg": UNKNOWN, "announcement": LATE, "policy": RestartPolicy.NEVER}, Status.FALSE,
        Reason.RESTART_FORBIDDEN, id="an unknown version needs the restart that is forbidden",
    ),
    pytest.param(
        {"cnpg": cnpg(version="1.23.9"), "announcement": LATE}, Status.UNKNOWN,
        Reason.RESTART_PENDING, id="a version before 1.24.0 finds plugins at its start only",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "status", "reason"), ROWS)
def test_a_registration_is_evaluated(facts: dict[str, Any], status: Status, reason: Reason) -> None:
    verdict = decide_registration(registration(**facts))

    assert (verdict.status, verdict.reason) == (status, reason)


def test_an_overdue_registration_points_to_cloudnativepgs_log() -> None:
    verdict = decide_registration(registration(announcement=LATE))

    assert "look at the log of Deployment cnpg-controller-manager" in verdict.message


def annotations_after(
    live: Announcement | None, *, endpoint: str = "e1", revision: str = "r1"
) -> dict[str, str]:
    wanted = announce(
        live, {names.cnpg.PLUGIN_PORT: "9090"}, endpoint_hash=endpoint, revision=revision, now=NOW
    )
    return dict(wanted)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_first_announcement_records_its_time() -> None:
    annotations = annotations_after(None)

    assert annotations[names.annotations.ANNOUNCED_AT] == stamp(NOW)
    assert names.annotations.CHANGED_AT not in annotations


def test_an_announced_revision_keeps_its_time() -> None:
    annotations = annotations_after(announcement("r1", at=ago(77)), revision="r1")

    assert annotations[names.annotations.ANNOUNCED_AT] == stamp(ago(77))


def test_an_edited_announcement_is_restored() -> None:
    edited = replace(announcement("r1"), annotations={names.cnpg.PLUGIN_PORT: "1"})
    endpoint = {names.cnpg.PLUGIN_PORT: "9090"}

    assert annotations_after(edited)[names.cnpg.PLUGIN_PORT] == "9090"
    assert keep_announcing(edited, endpoint, "e1")[names.cnpg.PLUGIN_PORT] == "9090"


def test_the_previous_endpoint_stays_announced_until_the_new_one_is_proven() -> None:
    live = replace(announcement("r1"), annotations={names.cnpg.PLUGIN_PORT: "9090"})

    kept = keep_announcing(live, {names.cnpg.PLUGIN_PORT: "9443"}, "e2")

    assert kept[names.cnpg.PLUGIN_PORT] == "9090"


def test_a_new_revision_at_the_same_endpoint_does_not_change_the_endpoint() -> None:
    annotations = annotations_after(announcement("r1"), revision="r2")

    assert annotations[names.annotations.REVISION] == "r2"
    assert names.annotations.CHANGED_AT not in annotations


def test_a_changed_endpoint_stays_recorded_through_later_revisions() -> None:
    changed = annotations_after(announcement("r1"), endpoint="e2", revision="r2")
    later = annotations_after(announcement("r2", changed_at=ago(9)), revision="r3")

    assert changed[names.annotations.CHANGED_AT] == stamp(NOW)
    assert later[names.annotations.CHANGED_AT] == stamp(ago(9))
