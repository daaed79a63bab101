"""From facts to plans, and from plans to writes: a stage decides all that it writes beforehand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Type, Verdict, no, yes
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.namespace import CNPGSnapshot
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGEvent, PluginStatusFacts
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome, Identity
from cnpg_plugin_operator.decide.registration.restart import Action, RestartDecision
from cnpg_plugin_operator.decide.registration.touch import TOUCH_GRACE
from cnpg_plugin_operator.decide.workload.upgrade import UpgradeInput
from cnpg_plugin_operator.decide.workload.workload import WorkloadInput
from cnpg_plugin_operator.desired.service import build_service
from cnpg_plugin_operator.desired.workload import build_deployment
from cnpg_plugin_operator.errors import UnavailableError
from cnpg_plugin_operator.reconcile.certificates.certificates import Certified
from cnpg_plugin_operator.reconcile.environment import Applied, Environment
from cnpg_plugin_operator.reconcile.handshake.handshake import Handshakes, Proven, plan_handshake
from cnpg_plugin_operator.reconcile.handshake.schedule import Proof
from cnpg_plugin_operator.reconcile.pruning import delete
from cnpg_plugin_operator.reconcile.registration.registration import plan_registration
from cnpg_plugin_operator.reconcile.shared import CNPGView
from cnpg_plugin_operator.reconcile.stages import Plan, Progress, walk
from cnpg_plugin_operator.reconcile.workload import MOMENT, plan_availability, plan_workload
from cnpg_plugin_operator.reconcile.writes import (
    Apply,
    Delete,
    Nudge,
    RecordEvent,
    RefreshPod,
    Write,
)
from tests.support.unit.builders import (
    NOW,
    ago,
    announcement,
    certificate,
    cnpg,
    pair,
    plugin,
    pod,
    registration,
    workload,
)

USER = ClusterFacts(
    "app", "db", True, "", PluginStatusFacts("hello.example.org", "1.2.3"), created=ago(9999)
)
REGISTERED = CNPGEvent(False, "PluginRegistered", "registered", ago(1))


def upgrade(*, manual: bool = False, **facts: Any) -> UpgradeInput:
    """A Deployment that is to change, of a plugin that a Cluster uses."""
    spec = {"upgradePolicy": "Manual"} if manual else {}
    wanted = plugin(image="example.org/hello:2", **spec)
    usual = UpgradeInput(
        plugin=wanted,
        wanted=build_deployment(wanted),
        live=build_deployment(plugin()),
        published=True,
        clusters=(USER,),
        capabilities=frozenset({"LIFECYCLE_SERVICE"}),
        approval="",
    )
    return replace(usual, **facts)


def test_a_workload_is_applied_with_its_deployment_last_and_then_told() -> None:
    given = upgrade()
    service = build_service(given.plugin, None)
    *applied, told = plan_workload(given, [service]).writes

    assert applied == [Apply(service), Apply(dict(given.wanted))]
    assert isinstance(told, RecordEvent)
    assert told.reason == "UpgradingPlugin"


def test_a_change_that_nothing_depends_on_is_not_told() -> None:
    plan = plan_workload(upgrade(clusters=()), [])

    assert [type(write) for write in plan.writes] == [Apply]
    assert plan.verdict is None


def test_a_change_that_waits_for_approval_writes_nothing() -> None:
    plan = plan_workload(upgrade(manual=True), [build_service(plugin(), None)])

    assert plan.writes == ()
    assert plan.verdict is not None
    assert plan.verdict.reason is Reason.AWAITING_APPROVAL


@pytest.mark.parametrize("up_to_date", [True, False])
def test_pods_are_looked_at_soon_where_their_controller_is_behind(*, up_to_date: bool) -> None:
    facts = workload(up_to_date=up_to_date, available=1)
    plan = plan_availability(WorkloadInput("cnpg-system", "hello", 9090, facts, NOW))

    assert plan.looks == (() if up_to_date else (NOW + MOMENT,))
    assert plan.writes == ()


OLD, NEWEST = certificate("server", number=1), certificate("server", number=2)
POD = pod(name="hello-1", ready=True, created=ago(600))
DONE = HandshakeOutcome(Reason.IDENTIFIED, "answered", Identity("hello.example.org", "1.0.0"))
REFUSED = HandshakeOutcome(Reason.CLIENT_CERTIFICATE_REFUSED, "refused")


def proof(outcome: HandshakeOutcome = DONE, *behind: str) -> Proof:
    return Proof("f", outcome, behind, ago(1), 0 if outcome.succeeded else 1)


def judged(
    newest: Proof,
    present: Proof | None = None,
    *,
    changed: float = 5,
    restarted_for: str = "",
    **tls: Any,
) -> Proven:
    """Plan for one pod, certificates that changed so many seconds ago, and these handshakes."""
    wanted = plugin(tls=tls) if tls else plugin()
    certified = Certified(
        yes(Reason.ISSUED, ""),
        server=pair(NEWEST, written_at=ago(changed)),
        client=pair(certificate("client")),
        renewals=(None, None),
        material="m2",
    )
    return plan_handshake(
        wanted,
        certified,
        Handshakes(newest, present, (NOW + timedelta(minutes=10),)),
        [POD],
        build_deployment(wanted),
        restarted_for,
        NOW,
    )


def test_a_plugin_that_answers_can_be_announced() -> None:
    found = judged(proof())

    assert found.plan == Plan(yes(Reason.IDENTIFIED, "answered"), looks=found.plan.looks)
    assert found.takes_new
    assert found.identity == DONE.identity


def test_a_pod_that_is_behind_is_refreshed() -> None:
    found = judged(proof(DONE, POD.name))

    assert found.plan.writes == (RefreshPod(kinds.POD, "cnpg-system", POD.name, "m2"),)
    assert found.takes_new


def test_a_pod_that_refuses_the_new_certificate_is_waited_for() -> None:
    verdict = judged(proof(REFUSED)).plan.verdict

    assert verdict is not None
    assert verdict.reason is Reason.AWAITING_PODS


def test_pods_that_stay_behind_are_restarted_once() -> None:
    first = judged(proof(DONE, POD.name), changed=3600)
    again = judged(proof(DONE, POD.name), changed=3600, restarted_for="m2")

    applied, told = first.plan.writes
    assert applied == Apply(first.deployment)
    assert isinstance(told, RecordEvent)
    assert told.reason == "RestartingPods"
    assert again.plan.writes == ()


def test_what_cloudnativepg_uses_at_present_counts_while_the_newest_does_not_do() -> None:
    found = judged(proof(REFUSED), proof())

    assert found.plan.verdict == yes(Reason.IDENTIFIED, "answered")
    assert not found.takes_new


def view(**facts: Any) -> CNPGView:
    return CNPGView(CNPGSnapshot((cnpg(),), (), reference_exists=True), **facts)


def test_a_registered_plugin_plans_no_write() -> None:
    step = plan_registration(registration(event=REGISTERED), view(), plugin(), refreshing=True)

    assert step.plan.verdict is not None
    assert step.plan.verdict.is_true
    assert step.plan.writes == ()
    assert step.need is None


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("granted", [True, False])
def test_clusters_are_nudged_only_where_both_sides_want_it(*, wanted: bool, granted: bool) -> None:
    given = registration(
        event=REGISTERED,
        announcement=announcement(at=ago(900)),
        cnpg=cnpg(version="1.26.0"),
        clusters=(USER,),
        identity=Identity("hello.example.org", "2.0.0"),
        registered_revision="r1",
    )
    chosen = plugin(cnpg={"clusterRefresh": "Annotate" if wanted else "None"})
    writes = plan_registration(given, view(), chosen, refreshing=granted).plan.writes

    assert [type(write) for write in writes] == ([Nudge] if wanted and granted else [])


def test_blocked_clusters_are_looked_at_again() -> None:
    given = registration(event=REGISTERED, clusters=(replace(USER, blocked=True),))
    plan = plan_registration(given, view(), plugin(), refreshing=False).plan

    assert plan.verdict is not None
    assert plan.verdict.is_true
    assert NOW + TOUCH_GRACE in plan.looks


def test_a_plugin_that_needs_a_restart_says_what_it_waits_for() -> None:
    given = registration(cnpg=cnpg(version="1.25.0"), announcement=announcement(changed_at=ago(2)))
    waiting = RestartDecision(Action.WAIT, "others may follow")
    step = plan_registration(given, view(restart=waiting), plugin(), refreshing=False)

    assert step.need is not None
    assert step.need.revision == "r1"
    assert step.plan.verdict is not None
    assert "It waits: others may follow." in step.plan.verdict.message


class Recording:
    """An applier that keeps what it is asked for, and fails on request."""

    def __init__(self, fails_at: int = 99) -> None:
        self.writes: list[Write] = []
        self._fails_at = fails_at

    async def apply(self, write: Write, live: Mapping[str, Any] | None) -> Applied:
        if len(self.writes) == self._fails_at:
            raise UnavailableError("the connection broke")
        self.writes.append(write)
        return Applied({"written": len(self.writes)}, written=live is None)


def progress(applier: Recording) -> Progress:
    class Ports:
        pass

    ports = Ports()
    ports.applier = applier  # type: ignore[attr-defined]
    return Progress(cast("Environment", ports))


SERVICE, DEPLOYMENT = Apply(build_service(plugin(), None)), Apply(build_deployment(plugin()))
TRUE, FALSE = yes(Reason.AVAILABLE, "done"), no(Reason.CRASH_LOOP, "broken")


async def test_a_step_sees_what_the_step_before_it_wrote() -> None:
    done, seen = progress(Recording()), []

    async def write() -> Plan:
        return Plan(writes=(SERVICE, DEPLOYMENT))

    async def look() -> Plan:
        seen.append(dict(done.live))
        return Plan(TRUE)

    verdicts: dict[Type, Verdict] = {}
    assert await walk({Type.AVAILABLE: (write, look)}, done, verdicts, {}) is None
    assert seen == [{SERVICE.target: {"written": 1}, DEPLOYMENT.target: {"written": 2}}]
    assert verdicts == {Type.AVAILABLE: TRUE}
    assert done.wrote == ["Service hello", "Deployment hello"]


async def test_a_verdict_that_is_not_true_ends_the_pass_after_its_writes() -> None:
    applier = Recording()

    async def stop() -> Plan:
        return Plan(FALSE, (SERVICE,), looks=(NOW,))

    async def never() -> Plan:
        raise AssertionError

    done = progress(applier)
    verdicts: dict[Type, Verdict] = {}
    stages = {Type.AVAILABLE: (stop, never), Type.REGISTERED: (never,)}
    assert await walk(stages, done, verdicts, {}) is None
    assert verdicts == {Type.AVAILABLE: FALSE}
    assert (applier.writes, done.looks) == ([SERVICE], [NOW])


async def test_a_write_that_fails_takes_the_verdict_with_it_and_keeps_what_was_written() -> None:
    async def both() -> Plan:
        return Plan(TRUE, (SERVICE, DEPLOYMENT))

    done = progress(Recording(fails_at=1))
    verdicts: dict[Type, Verdict] = {}
    failure = await walk({Type.AVAILABLE: (both,)}, done, verdicts, {})

    assert failure is not None
    assert (failure.condition, type(failure.error)) == (Type.AVAILABLE, UnavailableError)
    assert verdicts == {}
    assert done.wrote == ["Service hello"]


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    body = {"metadata": {"name": "a", "namespace": "n", "uid": "u"}}
    going = {"metadata": {**body["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}}

    assert delete([(kinds.SERVICE, body), (kinds.SERVICE, going)]) == (
        Delete(kinds.SERVICE, "n", "a", "u"),
    )
