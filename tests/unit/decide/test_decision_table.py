"""The decision about CloudNativePG: one row for each situation and range of versions.

The rows follow CloudNativePG's own behaviour, read in its tags 1.24.0 to 1.30.0. Each is decided
twice, as in a pass: the condition Registered, and, where it reports a pending restart, whether to
restart now.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.api.spec import RestartPolicy
from cnpg_plugin_operator.decide.facts.cnpg import (
    ClusterFacts,
    CNPGEvent,
    CNPGFacts,
    CNPGPod,
    PluginStatusFacts,
    Touch,
)
from cnpg_plugin_operator.decide.facts.plugin import Identity, PodFacts
from cnpg_plugin_operator.decide.registration.registration import decide_registration
from cnpg_plugin_operator.decide.registration.restart import (
    Action,
    RestartNeed,
    decide_restart,
)
from cnpg_plugin_operator.decide.registration.restart_need import RegistrationInput, is_lost
from cnpg_plugin_operator.decide.registration.touch import BLOCKED
from tests.support.unit.builders import (
    NOW,
    ago,
    announcement,
    cnpg,
    leader,
    pod,
    registration,
    restarting,
)

KEEPING = ("1.24.0", "1.24.3", "1.25.0", "1.25.1")
"""These versions keep what they read about a plugin first, until they are restarted."""
SILENT = ("1.24.4", "1.25.2", "1.26.0", "1.28.3", "1.28.4")
"""These versions read changed Services and Secrets again, without reporting it."""
EVENTFUL = ("1.29.0", "1.29.1", "1.29.2", "1.30.0")
"""These versions do the same, and write Events."""
MODERN = (*SILENT, *EVENTFUL)

IDENTITY = Identity("hello.example.org", "2.0", capabilities=("LIFECYCLE_SERVICE",))
CURRENT = PluginStatusFacts("hello.example.org", "2.0", ("TYPE_LIFECYCLE_SERVICE",))
PREVIOUS = PluginStatusFacts("hello.example.org", "1.0", ("TYPE_LIFECYCLE_SERVICE",))

NEW = announcement("r1", at=ago(40))
MOVED = announcement("r2", at=ago(40), changed_at=ago(40))
"""Another port, Secret, server name or certificate than announced before."""
UPGRADED = replace(announcement("r2", at=ago(40)), replaces="r1")
"""Another image at the same endpoint."""
FRESH = announcement("r2", at=ago(3), changed_at=ago(3))

REGISTERED = CNPGEvent(False, "PluginRegistered", "registered", ago(38))
REFUSED = CNPGEvent(True, "InvalidServerCertificate", "not PEM", ago(38))


def user(status: PluginStatusFacts | None, phase: str = "", *, blocked: bool = False) -> Any:
    return ClusterFacts("app", "db", not phase, phase, status, created=ago(9000), blocked=blocked)


def recorded(
    seconds: float, attempts: int = 1, generation: int = 4, **revisions: str
) -> RestartRecord:
    named = revisions or {"hello": "r2"}
    return RestartRecord(at=ago(seconds), revisions=named, attempts=attempts, generation=generation)


Row = tuple[str, tuple[str, ...], dict[str, Any], Reason, Action | None]

ALWAYS, NEVER = RestartPolicy.ALWAYS, RestartPolicy.NEVER
UNKNOWN = ("",)
OLD = ("1.23.9",)
IDLE = cnpg(generation=5)
BROKEN = user(CURRENT, "Cluster cannot proceed: closed pool", blocked=True)

SITUATIONS: list[Row] = [
    ("a new plugin is found and not reported", (*KEEPING, *SILENT),
     {"announcement": NEW}, Reason.ANNOUNCED, None),
    ("a new plugin is found and an Event reports it", EVENTFUL,
     {"announcement": NEW, "event": REGISTERED}, Reason.REGISTERED, None),
    ("a new plugin without a report gets time", EVENTFUL,
     {"announcement": NEW}, Reason.AWAITING_REGISTRATION, None),
    ("a new plugin is refused and CloudNativePG's message is quoted", EVENTFUL,
     {"announcement": NEW, "event": REFUSED}, Reason.CNPG_REJECTED, None),
    ("a new plugin is proven by a Cluster that shows it", (*KEEPING, *MODERN),
     {"announcement": NEW, "clusters": (user(CURRENT),)}, Reason.REGISTERED, None),
    ("a new plugin that the policy wants a restart for gets one", (*KEEPING, *MODERN, *UNKNOWN),
     {"announcement": NEW, "policy": ALWAYS}, Reason.RESTART_PENDING, Action.RESTART),
    ("a new plugin that needs no restart is not kept by a policy that forbids it", MODERN[:5],
     {"announcement": NEW, "policy": NEVER}, Reason.ANNOUNCED, None),
    ("a new plugin is not found by a version that does not look", (*OLD, *UNKNOWN),
     {"announcement": NEW}, Reason.RESTART_PENDING, Action.RESTART),
    ("a new plugin is not found and may not be restarted for", (*OLD, *UNKNOWN),
     {"announcement": NEW, "policy": NEVER}, Reason.RESTART_FORBIDDEN, None),
    ("a changed endpoint is kept until a restart", KEEPING,
     {"announcement": MOVED}, Reason.RESTART_PENDING, Action.RESTART),
    ("a changed endpoint may not be restarted for", KEEPING,
     {"announcement": MOVED, "policy": NEVER}, Reason.RESTART_FORBIDDEN, None),
    ("a changed endpoint waits until no other plugin becomes ready", KEEPING,
     {"announcement": FRESH}, Reason.RESTART_PENDING, Action.WAIT),
    ("a changed endpoint is read again after a touch of the Service", SILENT,
     {"announcement": MOVED}, Reason.ANNOUNCED, None),
    ("a changed endpoint is read again and an Event reports it", EVENTFUL,
     {"announcement": MOVED, "event": REGISTERED}, Reason.REGISTERED, None),
    ("a changed endpoint was read by a leader that another party restarted", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, leader=leader(ago(35)))},
     Reason.ANNOUNCED, None),
    ("a changed endpoint was read by the leader that was started for it", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, leader=leader(ago(35), hello="r2"))},
     Reason.ANNOUNCED, None),
    ("a requested restart is followed", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, rolling=True, restarted_for={"hello": "r2"},
                                             restarted_at=ago(5))}, Reason.RESTARTING, None),
    ("a restart that has no leader for a moment is followed", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, leader=None, restarted_for={"hello": "r2"},
                                             restarted_at=ago(5))}, Reason.RESTARTING, None),
    ("a stuck restart is reported and left alone", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, rolling=True, stuck="no image",
                                             restarted_for={"hello": "r2"})},
     Reason.RESTART_STUCK, None),
    ("a rollout that is already stuck prevents a restart", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, rolling=True, stuck="no image")},
     Reason.RESTART_STUCK, None),
    ("a restart waits for a rollout by another party", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, rolling=True)},
     Reason.RESTART_PENDING, Action.WAIT),
    ("a Cluster that fails over is not disturbed", KEEPING,
     {"announcement": MOVED, "busy": ("app/db (Failing over)",)},
     Reason.RESTART_PENDING, Action.WAIT),
    ("a second restart waits for the cool-down", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, restarted_at=ago(100),
                                             restarted_for={"hello": "r1"})},
     Reason.RESTART_PENDING, Action.WAIT),
    ("a second restart follows after the cool-down", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, restarted_at=ago(301),
                                             restarted_for={"hello": "r1"})},
     Reason.RESTART_PENDING, Action.RESTART),
    ("a recorded but not requested restart is carried out at once", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, record=recorded(5, generation=5))},
     Reason.RESTART_PENDING, Action.RESTART),
    ("a reverted restart is tried once more, later", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, record=recorded(20))},
     Reason.RESTART_PENDING, Action.WAIT),
    ("a reverted restart is tried once more", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, record=recorded(400))},
     Reason.RESTART_PENDING, Action.RESTART),
    ("a restart that was reverted twice is given up", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, record=recorded(4000, 2))},
     Reason.RESTART_REVERTED, None),
    ("a reverted restart for a previous revision does not count", KEEPING,
     {"announcement": MOVED, "cnpg": replace(IDLE, record=recorded(4000, 2, hello="r1"))},
     Reason.RESTART_PENDING, Action.RESTART),
    ("under OLM the pods are replaced", KEEPING,
     {"announcement": MOVED,
      "cnpg": replace(IDLE, olm="cnpg.v1", pods=(CNPGPod(pod(name="cnpg-1")),))},
     Reason.RESTART_PENDING, Action.RESTART),
    ("under OLM a policy that forbids it is respected, too", KEEPING,
     {"announcement": MOVED, "policy": NEVER, "cnpg": replace(IDLE, olm="cnpg.v1")},
     Reason.RESTART_FORBIDDEN, None),
    ("under OLM a pod from before the restart is deleted", KEEPING,
     {"announcement": MOVED, "cnpg": replace(
         IDLE, olm="cnpg.v1", record=recorded(3),
         pods=(CNPGPod(pod(name="cnpg-1", created=ago(900))),))},
     Reason.RESTARTING, Action.DELETE_POD),
    ("under OLM one pod after the other is deleted", KEEPING,
     {"announcement": MOVED, "cnpg": replace(
         IDLE, olm="cnpg.v1", record=recorded(3), pods=(
             CNPGPod(pod(name="cnpg-1", created=ago(900))),
             CNPGPod(pod(name="cnpg-2", created=ago(900), deleting=True))))},
     Reason.RESTARTING, Action.WAIT),
    ("a new image is announced by a touch of the Service", SILENT,
     {"announcement": UPGRADED, "registered_revision": "r1"}, Reason.ANNOUNCED, None),
    ("a new image is announced and an Event reports it", EVENTFUL,
     {"announcement": UPGRADED, "registered_revision": "r1", "event": REGISTERED},
     Reason.REGISTERED, None),
    ("a new image needs nothing if no Cluster shows the previous one", KEEPING,
     {"announcement": UPGRADED, "registered_revision": "r1"}, Reason.ANNOUNCED, None),
    ("a new image is shown as the previous one until a restart", KEEPING,
     {"announcement": UPGRADED, "clusters": (user(PREVIOUS),)},
     Reason.RESTART_PENDING, Action.RESTART),
    ("a changed identity alone is no reason for a restart", KEEPING,
     {"announcement": NEW, "clusters": (user(PREVIOUS),)}, Reason.ANNOUNCED, None),
    ("a restart for a new image is the last, whatever the identity later", KEEPING,
     {"announcement": UPGRADED, "clusters": (user(PREVIOUS),),
      "cnpg": replace(IDLE, leader=leader(ago(35), hello="r2"))}, Reason.ANNOUNCED, None),
    ("Clusters that stay blocked because of another Service need a restart", KEEPING,
     {"announcement": replace(NEW, disturbed="Service other"), "registered_revision": "r1",
      "clusters": (user(CURRENT, "Unknown plugin", blocked=True),)},
     Reason.RESTART_PENDING, Action.RESTART),
    ("a new image that Clusters do not show yet is no reason for a restart", MODERN,
     {"announcement": UPGRADED, "clusters": (user(PREVIOUS),), "event": REGISTERED},
     Reason.REGISTERED, None),
    ("a new image that Clusters do show is registered", (*KEEPING, *MODERN),
     {"announcement": UPGRADED, "clusters": (user(CURRENT),)}, Reason.REGISTERED, None),
    ("closed connections are used until a restart", KEEPING,
     {"announcement": NEW, "clusters": (BROKEN,), "registered_revision": "r1"},
     Reason.RESTART_PENDING, Action.RESTART),
    ("closed connections are rebuilt, or Clusters are named", SILENT,
     {"announcement": NEW, "clusters": (BROKEN,)}, Reason.CLUSTERS_BLOCKED, None),
    ("Clusters may be blocked for a moment", EVENTFUL,
     {"announcement": announcement("r1", at=ago(20)), "event": CNPGEvent(
         False, "PluginRegistered", "registered", ago(19)), "clusters": (BROKEN,)},
     Reason.REGISTERED, None),
    ("Clusters that stay blocked are reported", EVENTFUL,
     {"announcement": NEW, "event": REGISTERED, "clusters": (BROKEN,)},
     Reason.CLUSTERS_BLOCKED, None),
    ("Clusters whose phase may be an old one are no proof", EVENTFUL,
     {"announcement": NEW, "event": REGISTERED, "clusters": (replace(BROKEN, up_to_date=False),)},
     Reason.REGISTERED, None),
    ("a touch for another Service is not answered yet", EVENTFUL,
     {"announcement": replace(NEW, touch=Touch(ago(3), "Service other")),
      "registered_revision": "r1", "event": REGISTERED}, Reason.REREGISTERING, None),
    ("a touch for another Service is answered", EVENTFUL,
     {"announcement": replace(NEW, touch=Touch(ago(39), "Service other")),
      "registered_revision": "r1", "event": REGISTERED}, Reason.REGISTERED, None),
    ("a touch for another Service is not answered for so long that the Event was dropped", EVENTFUL,
     {"announcement": replace(NEW, touch=Touch(ago(31), "Service other")),
      "registered_revision": "r1"}, Reason.REGISTERED, None),
    ("Clusters are not Ready again before they are reconciled", EVENTFUL,
     {"announcement": replace(NEW, touch=Touch(ago(9), BLOCKED)), "registered_revision": "r1",
      "event": CNPGEvent(False, "PluginRegistered", "registered", ago(8)),
      "clusters": (BROKEN,)}, Reason.REREGISTERING, None),
    ("a second touch for blocked Clusters changes nothing", EVENTFUL,
     {"announcement": replace(NEW, touch=Touch(ago(9), BLOCKED, 2)), "registered_revision": "r1",
      "clusters": (BROKEN,)}, Reason.CLUSTERS_BLOCKED, None),
    ("a registered plugin stays registered during a rollout", (*EVENTFUL, *UNKNOWN),
     {"announcement": NEW, "registered_revision": "r1",
      "cnpg": replace(IDLE, rolling=True, leader=None)}, Reason.REGISTERED, None),
    ("a plugin announced to a silent version stays so during a rollout", (*KEEPING, *SILENT),
     {"announcement": NEW, "registered_revision": "r1",
      "cnpg": replace(IDLE, rolling=True, leader=None)}, Reason.ANNOUNCED, None),
    ("a registered plugin needs no restart under any policy", EVENTFUL,
     {"announcement": NEW, "registered_revision": "r1", "policy": ALWAYS},
     Reason.REGISTERED, None),
    ("a plugin announced to a silent version needs no restart under any policy",
     (*KEEPING, *SILENT),
     {"announcement": NEW, "registered_revision": "r1", "policy": ALWAYS},
     Reason.ANNOUNCED, None),
    ("without a replica nothing can be registered", (*KEEPING, *MODERN, *UNKNOWN, *OLD),
     {"announcement": NEW, "cnpg": replace(IDLE, available=False)},
     Reason.CNPG_UNAVAILABLE, None),
    ("without a leader nothing can be registered", (*KEEPING, *MODERN, *UNKNOWN, *OLD),
     {"announcement": MOVED, "cnpg": replace(IDLE, leader=None)},
     Reason.CNPG_UNAVAILABLE, None),
]  # fmt: skip

ROWS = [
    pytest.param(version, facts, reason, action, id=f"{version or 'unknown'}: {sentence}")
    for sentence, versions, facts, reason, action in SITUATIONS
    for version in versions
]


def build(version: str, facts: Mapping[str, Any]) -> RegistrationInput:
    known = {key: value for key, value in facts.items() if key != "busy"}
    known["cnpg"] = replace(known.get("cnpg", IDLE), version=version)
    return registration(**{"identity": IDENTITY, **known})


def timing(given: RegistrationInput, busy: tuple[str, ...] = ()) -> Action:
    announced = given.announcement
    return decide_restart(
        restarting(
            given.cnpg,
            {given.name: announced},
            needs={
                given.name: RestartNeed(announced.revision, announced.announced_at, is_lost(given))
            },
            now=given.now,
            busy=busy,
        )
    ).action


@pytest.mark.parametrize(("version", "facts", "reason", "action"), ROWS)
def test_the_decision_is(
    version: str, facts: dict[str, Any], reason: Reason, action: Action | None
) -> None:
    given = build(version, facts)

    verdict = decide_registration(given)

    assert verdict.reason is reason
    acting = reason is Reason.RESTART_PENDING or (
        reason is Reason.RESTARTING and bool(given.cnpg.olm)
    )
    assert (timing(given, facts.get("busy", ())) if acting else None) is action


def test_every_range_of_versions_has_enough_rows() -> None:
    assert len(SITUATIONS) >= 40
    assert len(ROWS) >= 150
    assert {row.values[0] for row in ROWS} == {*KEEPING, *MODERN, *UNKNOWN, *OLD}


def at(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def facts_of_olm(*pods: PodFacts, leading: str = "cnpg-1") -> CNPGFacts:
    lead = replace(leader(ago(900)), pod=leading)
    return replace(IDLE, version="1.25.0", olm="cnpg.v1", record=recorded(3),
                   pods=tuple(CNPGPod(pod) for pod in pods), leader=lead)  # fmt: skip


def test_under_olm_the_leader_is_deleted_last() -> None:
    old = [pod(name=name, created=at(900)) for name in ("cnpg-1", "cnpg-2")]
    fresh = pod(name="cnpg-3", created=at(1))

    def next_pod(*pods: PodFacts) -> str:
        given = restarting(facts_of_olm(*pods), {"hello": MOVED})
        return decide_restart(given).pod

    assert next_pod(*old) == "cnpg-2"
    assert next_pod(old[0], fresh) == "cnpg-1"


def test_a_second_attempt_is_counted_and_a_resumed_one_is_not() -> None:
    def record(facts: CNPGFacts) -> RestartRecord:
        given = restarting(facts, {"hello": MOVED})
        decision = decide_restart(given)
        assert decision.record is not None
        return decision.record

    unfinished = recorded(5, generation=5)
    assert record(replace(IDLE, record=unfinished)) == unfinished
    assert record(replace(IDLE, record=recorded(400))).attempts == 2
    assert record(IDLE).attempts == 1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"policy": NEVER},
         "kubectl rollout restart deployment cnpg-controller-manager -n cnpg-system"),
        ({"policy": NEVER, "cnpg": replace(IDLE, olm="cnpg.v1")},
         "kubectl delete pod cnpg-1 -n cnpg-system"),
        ({"cnpg": replace(IDLE, record=recorded(4000, 2), changed_by="argocd")},
         "argocd changed its spec last"),
        ({"cnpg": replace(IDLE, rolling=True, stuck="pod x: no image")}, "pod x: no image"),
    ],
)  # fmt: skip
def test_the_message_says_what_to_do(facts: dict[str, Any], words: str) -> None:
    verdict = decide_registration(build("1.25.0", {"announcement": MOVED, **facts}))

    assert words in verdict.message


def test_lagging_and_blocked_clusters_are_named_after_a_while() -> None:
    blocked = user(CURRENT, "Unknown plugin", blocked=True)
    clusters = (user(PREVIOUS), replace(blocked, name="other", up_to_date=False))

    def message(at: datetime) -> str:
        given = {"announcement": announcement("r1", at=at), "clusters": clusters}
        return decide_registration(build("1.28.4", given)).message

    assert "app/db" not in message(ago(29))
    assert "version 1.0 or other capabilities by app/db" in message(ago(31))
    assert "Not reconciled because of it: app/other (Unknown plugin)" in message(ago(31))
