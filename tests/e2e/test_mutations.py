"""Edits of a plugin's objects are reverted or reported within a minute, with few writes."""

from collections import Counter
from typing import Any, Final

import pytest

from tests.support import wait
from tests.support.e2e.api import PLUGINS
from tests.support.e2e.damage import rival
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection, is_ready
from tests.support.resources import NAMESPACE, plugin

pytestmark = pytest.mark.cnpg("untouched")

ISSUED, OWN = "mutated", "mutated-own"
"""A plugin with certificates of cert-manager, and one with the operator's."""

MINUTE: Final = 65
OURS: Final = dict.fromkeys(("app.kubernetes.io/managed-by", "cnpgplugin.dev/name"))
UNOWNED: Final = {"metadata": {"ownerReferences": None}}
UNLABELLED: Final = {"metadata": {"labels": OURS}}

MUTATIONS: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("Service", ISSUED, {"metadata": {"annotations": {"cnpg.io/pluginServerName": "x"}}}),
    ("Service", ISSUED, {"metadata": {"annotations": {"cnpgplugin.dev/touched-for": "x"}}}),
    ("Service", ISSUED, {"metadata": {"labels": {"cnpg.io/cluster": "x"}}}),
    ("Service", ISSUED, {"spec": {"selector": {"app": "other"}}}),
    ("Service", ISSUED, {"spec": {"type": "NodePort"}}),
    ("Service", ISSUED, {"spec": {"externalIPs": ["192.0.2.1"]}}),
    ("Service", ISSUED, {"spec": {"sessionAffinity": "ClientIP"}}),
    ("Service", ISSUED, {"spec": {"publishNotReadyAddresses": True}}),
    ("Service", OWN, UNLABELLED),
    ("Service", OWN, UNOWNED),
    ("Deployment", ISSUED, {"spec": {"paused": True}}),
    ("Deployment", ISSUED, UNLABELLED),
    ("Deployment", OWN, UNOWNED),
    ("Deployment", OWN, {"metadata": {"labels": {"cnpg.io/pluginName": "x"}}}),
    ("Certificate", f"{ISSUED}-server-tls", UNLABELLED),
    ("Certificate", f"{ISSUED}-client-tls", UNOWNED),
    ("Secret", f"{ISSUED}-trust", UNLABELLED),
    ("Secret", f"{OWN}-server-tls", UNLABELLED),
    ("Secret", f"{OWN}-trust", UNOWNED),
]


@pytest.fixture(scope="module")
def mutated(module_plugins: Plugins) -> Plugins:
    module_plugins.apply(plugin(ISSUED), plugin(OWN, tls={"provider": "SelfManaged"}))
    module_plugins.until_ready(ISSUED, OWN)
    module_plugins.operator.writes_until_calm(module_plugins.operator.audit.mark())
    return module_plugins


def state(plugins: Plugins, kind: str, name: str) -> dict[str, Any]:
    """The relevant parts of an object, without counters."""
    body = plugins.get(kind, name)
    metadata = body["metadata"]
    counted = ("announced-at", "changed-at", "desired-hash", "trust-changed-at")
    return {
        "labels": metadata.get("labels"),
        "annotations": {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if not key.endswith(counted) and not key.startswith("deployment.kubernetes.io")
        },
        "owners": metadata.get("ownerReferences"),
        "spec": body.get("spec"),
    }


@pytest.mark.timeout(300)
def test_simultaneous_edits_are_reverted_within_a_minute(mutated: Plugins) -> None:
    operator = mutated.operator
    targets = dict.fromkeys((kind, name) for kind, name, _ in MUTATIONS)
    before = {target: state(mutated, *target) for target in targets}
    mark = operator.audit.mark()
    for kind, name, change in MUTATIONS:
        mutated.api.patch(f"{collection(kind)}/{name}", change)

    def left() -> list[str]:
        return [
            f"{kind} {name}: {now} instead of {before[kind, name]}"
            for kind, name in targets
            if (now := state(mutated, kind, name)) != before[kind, name]
        ]

    wait.until(
        "everything is restored",
        lambda: not left(),
        within=MINUTE,
        explain=lambda: "\n".join([*left(), mutated.explain(ISSUED), mutated.explain(OWN)]),
        pause=1,
    )
    writes = Counter(map(str, operator.writes_until_calm(mark)))
    objects = {write: n for write, n in writes.items() if " events" not in write}
    print(writes)
    # At most one merge patch and two applies for each mutation.
    assert max(n for write, n in objects.items() if "services" in write) <= 20, writes
    assert sum(objects.values()) <= 60, writes
    mutated.until_ready(ISSUED, OWN)


@pytest.mark.timeout(300)
def test_a_write_loop_is_stopped_named_and_counted(mutated: Plugins) -> None:
    operator = mutated.operator
    mark = operator.audit.mark()
    with rival(mutated, ISSUED):
        ready = mutated.until_condition(ISSUED, "Ready", "WriteLoopStopped", within=60)
        wait.never("no end of it", lambda: is_ready(mutated.plugin(ISSUED)), seconds=5)
    reported = ready["message"]
    assert f"Service {NAMESPACE}/{ISSUED} is reverted as fast as the operator writes it" in reported
    assert "spec.selector.app, last by field manager" in reported
    writes = [w for w in operator.audit.writes(mark) if w.resource == "services"]
    assert len(writes) <= 13, writes
    metrics = operator.http("/metrics")[1]
    assert f'cnpg_plugin_write_loops_total{{kind="Service",namespace="{NAMESPACE}"}}' in metrics
    mutated.until_ready(ISSUED, within=120)
    assert "app" not in mutated.get("Service", ISSUED)["spec"]["selector"]


@pytest.mark.timeout(300)
def test_times_in_the_future_delay_nothing(mutated: Plugins) -> None:
    future = "2099-01-01T00:00:00Z"
    record = {"time": future, "reason": "hello", "revisions": {"x": "y"}, "attempts": 1}
    cnpg = mutated.plugin(OWN)["status"]["cnpg"]
    mutated.api.patch(
        f"{PLUGINS}/namespaces/{NAMESPACE}/cnpgplugins/{OWN}/status",
        {"status": {"cnpg": {**cnpg, "lastRestart": {**record, "generation": 1}}}},
    )
    marks = {f"cnpgplugin.dev/{key}": future for key in ("announced-at", "changed-at")}
    mutated.api.patch(f"{collection('Service')}/{OWN}", {"metadata": {"annotations": marks}})

    def sane() -> bool:
        said = mutated.get("Service", OWN)["metadata"]["annotations"]
        return future not in said.values() and is_ready(mutated.plugin(OWN))

    wait.until(
        "the Service tells a time that is over",
        sane,
        within=MINUTE,
        explain=lambda: mutated.explain(OWN),
    )
    mutated.patch(
        OWN, cnpg={"restartPolicy": "Always"}, podAnnotations={"example.com/changed": "1"}
    )
    wait.until(
        "CloudNativePG is restarted although a restart is recorded for 2099",
        lambda: is_restarted(mutated),
        within=180,
        explain=lambda: mutated.explain(OWN),
    )
    mutated.until_ready(OWN, within=120)


def is_restarted(plugins: Plugins) -> bool:
    """Whether a restart of CloudNativePG was recorded for the plugin at a time in the past."""
    recorded = plugins.plugin(OWN)["status"]["cnpg"].get("lastRestart") or {}
    return OWN in (recorded.get("revisions") or {}) and not str(recorded["time"]).startswith("2099")


@pytest.mark.timeout(300)
def test_a_deletion_removes_children_without_an_owner(operator: Operator) -> None:
    plugins, name = Plugins(operator), "mutated-orphans"
    plugins.apply(plugin(name, tls={"provider": "SelfManaged"}))
    plugins.until_ready(name)
    for kind in ("Service", "Deployment"):
        operator.api.patch(f"{collection(kind)}/{name}", UNOWNED)
    plugins.remove(name)
    for kind in ("Service", "Deployment"):
        plugins.until_gone(kind, name, within=30)
