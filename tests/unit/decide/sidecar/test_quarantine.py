"""Any problem of CloudNativePG's new pod: which sidecars it is attributed to, and when."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, CNPGPod, Eviction
from cnpg_plugin_operator.decide.facts.plugin import ContainerFacts
from cnpg_plugin_operator.decide.sidecar.quarantine import (
    QUARANTINE_AFTER,
    QUARANTINE_SPARE_AFTER,
    READY_WITHIN,
    SETTLED,
    TRUST_PROVEN_FOR,
    Blockade,
    History,
    find_blockade,
)
from cnpg_plugin_operator.desired.sidecars import build_sidecar, build_template
from tests.support.unit.builders import NOW, ago, container
from tests.support.unit.cnpg_pods import (
    GATE,
    PLACE,
    cnpg_pod,
    deployed,
    sidecar_container,
    sidecar_spec,
    template,
)

LARGE: dict[str, Any] = {"resources": {"requests": {"cpu": "100"}}}
CLAIM: dict[str, Any] = {
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "no-such-claim"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}
SETTINGS: dict[str, Any] = {
    "volumes": [{"name": "settings", "configMap": {"name": "no-such-settings"}}],
    "volumeMounts": [{"name": "settings", "mountPath": "/settings"}],
}
STORE: dict[str, Any] = {
    "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}
SPECS = {"new": {}, "large": LARGE, "claim": CLAIM, "settings": SETTINGS, "store": STORE, "old": {}}
SIDECARS = {name: build_sidecar(sidecar_spec(name, **spec), PLACE) for name, spec in SPECS.items()}
REVISIONS = {name: sidecar.revision for name, sidecar in SIDECARS.items()}
OLD = {"old": History(registered=REVISIONS["old"])}
SCHEDULER = "0/1 nodes are available: 1 Insufficient cpu."
LOST = '0/1 nodes are available: persistentvolumeclaim "no-such-claim" not found.'
UNMOUNTED = (
    'MountVolume.SetUp failed for volume "cnpg-plugin-settings--settings" : configmap '
    '"no-such-settings" not found'
)
QUOTA = 'pods "cnpg-5" is forbidden: exceeded quota: q, requested: requests.cpu=100'
POLICY = "pods is forbidden: container cnpg-plugin-new is not welcome"


def manager(**facts: Any) -> ContainerFacts:
    usual: dict[str, Any] = {"name": names.cnpg.CONTAINER, "running_since": None, "ready": False}
    return container(**{**usual, **facts})


CRASHING = manager(exit_code=1, restarts=2, exit_message="listen tcp :8080: address in use")


def having(*sidecars: str, **facts: Any) -> CNPGFacts:
    """A host whose template holds these sidecars."""
    part = build_template([SIDECARS[name] for name in sidecars], PLACE, GATE, template())
    return deployed(part, **facts)


def made(
    *sidecars: str, seconds: float = 10, with_manager: ContainerFacts | None = None, **facts: Any
) -> CNPGPod:
    """The newest pod, with these sidecars, whose first containers were not started."""
    parts = [sidecar_container(name) for name in sidecars]
    usual: dict[str, Any] = {
        "name": "cnpg-9",
        "created": ago(seconds),
        "ready": False,
        "sidecars": {name: REVISIONS[name] for name in sidecars},
        "gate_ended": None,
        "gate_started": False,
        "verdicts": {},
    }
    return cnpg_pod(*parts, *([with_manager] if with_manager else []), **{**usual, **facts})


def passed(*sidecars: str, seconds: float, with_manager: ContainerFacts) -> CNPGPod:
    """The same, whose gate ended so many seconds ago."""
    pod = made(*sidecars, seconds=seconds + 20, with_manager=with_manager)
    return replace(pod, gate_started=True, gate_ended=ago(seconds))


def serving(*sidecars: str, seconds: float = 3600) -> CNPGPod:
    """An older pod that is ready."""
    revisions = {name: REVISIONS[name] for name in sidecars}
    return replace(cnpg_pod(name="cnpg-1", sidecars=revisions), ready_since=ago(seconds))


def look(given: CNPGFacts, known: dict[str, History] | None = None) -> Blockade:
    return find_blockade(given, OLD if known is None else known, NOW)


SPARE, SOON = QUARANTINE_SPARE_AFTER.total_seconds(), QUARANTINE_AFTER.total_seconds()
READY, TRUST = READY_WITHIN.total_seconds(), TRUST_PROVEN_FOR.total_seconds()


def without_room(seconds: float, *others: CNPGPod, available: bool = True) -> CNPGFacts:
    pod = made("new", "old", seconds=seconds, unschedulable=SCHEDULER, scheduled=False)
    return having("new", "old", pods=(*others, pod), available=available)


def refused(seconds: float, words: str, *sidecars: str, available: bool = True) -> CNPGFacts:
    return having(
        *sidecars,
        pods=(serving("old"),),
        refused=words,
        refused_since=ago(seconds),
        available=available,
    )


ROWS: list[tuple[str, CNPGFacts, set[str], Reason | None]] = [
    ("a pod that is ready", having("new", pods=(serving("new"),)), set(), None),
    ("no room, for a moment", without_room(SPARE - 1, serving("old")), set(), None),
    ("no room", without_room(SPARE, serving("old")), {"new"}, Reason.UNSCHEDULABLE),
    ("no room, and nothing else serves", without_room(SOON, available=False), {"new"},
     Reason.UNSCHEDULABLE),
    ("no room for one that asks for much",
     having("new", "large", pods=(serving("old"), made(
         "new", "large", seconds=SPARE, unschedulable=SCHEDULER, scheduled=False))),
     {"large"}, Reason.UNSCHEDULABLE),
    ("a missing claim",
     having("large", "claim", pods=(serving("old"), made(
         "large", "claim", seconds=SPARE, unschedulable=LOST, scheduled=False))),
     {"claim"}, Reason.UNSCHEDULABLE),
    ("a volume that cannot be mounted",
     having("new", "settings", "store", pods=(serving("old"), made(
         "new", "settings", "store", seconds=SPARE, unmounted=UNMOUNTED))),
     {"settings"}, Reason.MOUNT_FAILED),
    ("containers that are not started",
     having("new", pods=(made("new", seconds=SPARE),)), {"new"}, Reason.CNPG_BLOCKED),
    ("containers that are being started",
     having("new", pods=(made("new", seconds=SPARE - 1),)), set(), None),
    ("a gate that waits",
     having("new", pods=(made("new", seconds=600, gate_started=True),)), set(), None),
    ("pods that are refused for a moment", refused(SPARE - 1, QUOTA, "new", "old"), set(), None),
    ("pods that are refused", refused(SPARE, QUOTA, "new", "old"), {"new"}, Reason.PODS_REFUSED),
    ("pods that are refused for what one asks for", refused(SPARE, QUOTA, "new", "large"),
     {"large"}, Reason.PODS_REFUSED),
    ("pods that are refused by name", refused(SPARE, POLICY, "new", "large"), {"new"},
     Reason.PODS_REFUSED),
    ("pods that are refused, and none serves",
     refused(SOON, QUOTA, "new", available=False), {"new"}, Reason.PODS_REFUSED),
    ("a manager that crashed once",
     having("new", "old", pods=(passed("new", "old", seconds=SOON - 1, with_manager=CRASHING),)),
     set(), None),
    ("a manager that keeps exiting",
     having("new", "old", pods=(passed("new", "old", seconds=SOON, with_manager=CRASHING),)),
     {"new"}, Reason.CNPG_BLOCKED),
    ("a manager that keeps exiting beside two new ones",
     having("new", "large", pods=(passed("new", "large", seconds=SOON, with_manager=CRASHING),)),
     {"new", "large"}, Reason.CNPG_BLOCKED),
    ("a manager that starts",
     having("new", pods=(passed("new", seconds=READY - 1, with_manager=manager()),)), set(), None),
    ("a manager that does not become ready",
     having("new", pods=(passed("new", seconds=READY, with_manager=manager()),)), {"new"},
     Reason.CNPG_BLOCKED),
    ("CloudNativePG's own image",
     having("new", pods=(passed("new", seconds=3600, with_manager=manager(
         waiting_reason="ImagePullBackOff")),)), set(), None),
    ("another container of the pod's that is not ready",
     having("new", pods=(passed("new", seconds=3600, with_manager=manager(ready=True)),)),
     set(), None),
    ("a manager beside what has worked before",
     having("old", pods=(passed("old", seconds=SOON + TRUST - 1, with_manager=CRASHING),)),
     set(), None),
    ("a manager beside what has worked before, for long",
     having("old", pods=(passed("old", seconds=SOON + TRUST, with_manager=CRASHING),)),
     {"old"}, Reason.CNPG_BLOCKED),
    ("a pod of an earlier template", having("new", pods=(passed(
        "old", seconds=3600, with_manager=CRASHING),)), set(), None),
    ("a rollout that a person has paused", replace(without_room(3600), paused=True), set(), None),
    ("no replica", replace(without_room(3600), replicas=0), set(), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "out", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_sidecars_are_quarantined_for(
    given: CNPGFacts, out: set[str], reason: Reason | None
) -> None:
    causes = look(given).causes

    assert set(causes) == out
    assert {cause.reason for cause in causes.values()} == ({reason} if reason else set())
    assert {cause.shared for cause in causes.values()} <= {len(out) > 1}


ENDED = "Container manager of pod cnpg-9 exits with code 1: listen tcp :8080: address in use."
WORDS = [
    (without_room(SPARE, serving("old")), "new", f"Pod cnpg-9 cannot be scheduled: {SCHEDULER}"),
    (having("settings", pods=(made("settings", seconds=SPARE, unmounted=UNMOUNTED),)), "settings",
     f"A volume of pod cnpg-9 cannot be mounted: {UNMOUNTED}."),
    (refused(SPARE, QUOTA, "large"), "large",
     f"Pods of Deployment cnpg-controller-manager are refused: {QUOTA}."),
    (having("new", pods=(passed("new", seconds=SOON, with_manager=CRASHING),)), "new",
     f"CloudNativePG keeps exiting beside it. {ENDED}"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "name", "words"), WORDS, ids=[row[2][:30] for row in WORDS])
def test_the_message_says_what_was_observed(given: CNPGFacts, name: str, words: str) -> None:
    assert look(given).causes[name].message == words


@pytest.mark.parametrize(
    ("given", "known", "suspects"),
    [
        pytest.param(without_room(1, serving("old")), OLD, {"new"}, id="not proven"),
        pytest.param(without_room(1), {}, {"new", "old"}, id="neither proven"),
        pytest.param(
            without_room(1), {**OLD, "new": History(REVISIONS["new"])}, {"new", "old"},
            id="both proven",
        ),
        pytest.param(
            without_room(1), {**OLD, "new": History("another")}, {"new"},
            id="another revision proven",
        ),
        pytest.param(
            without_room(1), {**OLD, "new": History(REVISIONS["new"], ago(60))}, {"new"},
            id="proven before its quarantine",
        ),
        pytest.param(
            without_room(1, serving("new")), OLD, {"new", "old"}, id="works in a pod that is ready"
        ),
        pytest.param(
            without_room(1, serving("new", seconds=SETTLED.total_seconds() - 1)), OLD, {"new"},
            id="was ready for a moment",
        ),
        pytest.param(having("new", pods=(serving("new", seconds=1),)), OLD, set(), id="ready"),
    ],
)  # fmt: skip
def test_unproven_sidecars_are_suspected_at_once(
    given: CNPGFacts, known: dict[str, History], suspects: set[str]
) -> None:
    assert look(given, known).suspects == suspects


VOLUME = 'Usage of EmptyDir volume "cnpg-plugin-store--data" exceeds the limit "1Mi". '
LIMIT = 'Container cnpg-plugin-new exceeded its local ephemeral storage limit "1Mi". '
NODE = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container "
    "manager was using 70000Ki, request is 100Mi, has larger consumption of memory. Container "
    "cnpg-plugin-new was using 2Gi, request is 0, has larger consumption of memory. "
)
CALM = "The node was low on resource: memory. Container manager was using 900Mi, request is 0. "


def evicted(words: str, *sidecars: str, made_at: float = 60, ended_at: float = 10) -> CNPGFacts:
    revisions = {name: REVISIONS[name] for name in sidecars}
    eviction = Eviction("cnpg-7", ago(made_at), ago(ended_at), revisions, words)
    return having(*sidecars, pods=(serving(*sidecars),), evictions=(eviction,))


@pytest.mark.parametrize(
    ("given", "known", "out"),
    [
        pytest.param(evicted(VOLUME, "store", "new"), OLD, {"store"}, id="a volume"),
        pytest.param(evicted(LIMIT, "store", "new"), OLD, {"new"}, id="a container"),
        pytest.param(evicted(NODE, "store", "new"), OLD, {"new"}, id="the biggest of the node"),
        pytest.param(evicted(CALM, "store", "new"), OLD, set(), id="CloudNativePG itself"),
        pytest.param(evicted("", "store"), OLD, set(), id="no message"),
        pytest.param(
            evicted(VOLUME, "store", made_at=600, ended_at=241), OLD, set(), id="long ago"
        ),
        pytest.param(
            evicted(VOLUME, "store", made_at=60), {"store": History("", ago(50))}, set(),
            id="known already",
        ),
        pytest.param(
            evicted(VOLUME, "store", made_at=60), {"store": History("", ago(70))}, {"store"},
            id="once more",
        ),
        pytest.param(
            replace(evicted(VOLUME, "store"), template=having("new").template), OLD, set(),
            id="another template",
        ),
    ],
)  # fmt: skip
def test_sidecars_are_quarantined_for_an_eviction(
    given: CNPGFacts, known: dict[str, History], out: set[str]
) -> None:
    causes = look(given, known).causes

    assert set(causes) == out
    assert all(cause.reason is Reason.EVICTED for cause in causes.values())
    assert all(cause.message.startswith("Pod cnpg-7 was evicted: ") for cause in causes.values())


def looping(restarts: int, *others: CNPGPod) -> CNPGFacts:
    """A sidecar that the kubelet backs off from, in a pod that has just become unready."""
    crashed = sidecar_container(
        "old", waiting_reason="CrashLoopBackOff", exit_code=2, restarts=restarts, ready=False
    )
    pod = replace(made("old", seconds=600), gate_started=True, gate_ended=ago(590))
    facts = replace(pod.pod, containers=(crashed,), unready_since=ago(1))
    return having("old", pods=(*others, replace(pod, pod=facts)), available=bool(others))


@pytest.mark.parametrize(("restarts", "out"), [(1, set()), (2, {"old"}), (20, {"old"})])
def test_an_intermittent_crash_loop_is_ended(restarts: int, out: set[str]) -> None:
    assert set(look(looping(restarts)).causes) == out


def test_a_malformed_template_blames_no_sidecar() -> None:
    given = without_room(3600)
    live = {**given.template, "metadata": {"annotations": {names.annotations.SIDECARS: "["}}}
    strange = {**given.template, "metadata": {"annotations": {
        names.annotations.SIDECARS: json.dumps({"ghost": "r1"})}}}  # fmt: skip

    assert look(replace(given, template=live)) == Blockade()
    assert look(replace(given, template=strange)).causes == {}
