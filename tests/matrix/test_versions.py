"""What users do with plugins, on every version of CloudNativePG that can be built.

How often CloudNativePG may be rolled meanwhile is in `rows.py`; the fixture `cell` counts it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cnpg_plugin_operator.decide.facts.cnpg_versions import Fact, applies, parse_version
from tests.cluster.images import POSTGRES
from tests.matrix.conftest import MINUTE, Cell
from tests.matrix.rows import KEEPING
from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.installation import load_once
from tests.support.e2e.phases import Phases
from tests.support.e2e.plugins import LABEL, collection
from tests.support.e2e.previous import installation, remaining
from tests.support.e2e.probe import Probe
from tests.support.e2e.probe_calls import PLUGIN
from tests.support.e2e.renewal import Renewals
from tests.support.e2e.sidecars import Heartbeat, sidecar
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    POSTGRES_IMAGE,
    plugin,
    plugin_name,
    postgres,
    service,
)

FINALIZER = "cnpg.io/cleanupPlugin"
HEALTHY = "Cluster in healthy state"
UNKNOWN = "unknown plugin"
DATABASE = "database"
CHILDREN = "deployments,pods,services,secrets,certificates.cert-manager.io"

RENEWED_WITHIN = 30
SERVED_WITHIN = 60
"""Seconds until a pod has read its changed files; the tests' kubelet checks every 10 to 15."""


def does(cell: Cell, fact: Fact) -> bool:
    """Whether the operator's table says this of the version."""
    parsed = parse_version(cell.version)
    assert parsed is not None
    return applies(fact, parsed)


def until_used(cell: Cell, name: str) -> None:
    """Wait until CloudNativePG reconciles the plugin's Cluster, which needs the plugin."""
    with Heartbeat(cell.operator.api, cell.user_name(name)) as heart:
        wait.until(
            f"the Cluster of {name} is reconciled",
            heart.beating,
            within=MINUTE,
            explain=lambda: cell.plugins.explain(name),
        )


def test_a_new_plugin_is_found(cell: Cell) -> None:
    cell.start("found")
    assert cell.plugins.plugin("found")["status"]["cnpg"]["version"] == cell.version
    until_used(cell, "found")


def test_a_registration_is_seen(cell: Cell) -> None:
    """By Events where CloudNativePG writes them, elsewhere by a Cluster that shows the plugin."""
    name = "seen"
    cell.plugins.apply(plugin(name))
    cell.plugins.until_ready(name)
    reason = cell.plugins.condition(name, "Registered")["reason"]
    assert reason == ("Registered" if does(cell, Fact.REPORTS_EVENTS) else "Announced")
    finalizers = cell.plugins.get("Service", name)["metadata"].get("finalizers") or []
    assert (FINALIZER in finalizers) is does(cell, Fact.ADDS_FINALIZER)

    cell.plugins.apply(cell.user(name))
    found = cell.plugins.until_condition(name, "Registered", "Registered", within=MINUTE)
    assert does(cell, Fact.REPORTS_EVENTS) or cell.user_name(name) in found["message"]


@pytest.fixture
def volume(cell: Cell) -> Iterator[None]:
    """A place for a database's data."""
    cluster = cell.operator.cluster
    load_once(cluster, POSTGRES_IMAGE, POSTGRES.archive.name)
    cluster.add_volume(DATABASE)
    yield
    cell.plugins.clean_up()
    cluster.kubectl("delete", "pv", DATABASE, "--timeout=300s")


def test_a_database_with_a_plugin_is_healthy(cell: Cell, volume: None) -> None:
    name = "stored"
    cell.plugins.apply(plugin(name), postgres(DATABASE, plugin_name(name)))
    cell.plugins.until_ready(name)

    def status() -> dict[str, object]:
        found = cell.plugins.get("Cluster", DATABASE, "default").get("status", {})
        return {key: found.get(key) for key in ("phase", "phaseReason", "readyInstances")}

    wait.until(
        "the database is healthy",
        lambda: status()["phase"] == HEALTHY and status()["readyInstances"] == 1,
        within=4 * MINUTE,
        explain=lambda: (
            f"{status()}\n{cell.plugins.kubectl('get', 'pods,events', '--namespace', 'default')}"
        ),
    )
    cell.plugins.until_reported(name, DATABASE, IMAGE_VERSION, within=MINUTE)


def test_a_changed_port_is_used(cell: Cell) -> None:
    cell.start("moving")
    cell.plugins.patch("moving", port=9443)
    wait.until(
        "the new port is announced",
        lambda: port_of(cell, "moving") == "9443",
        within=MINUTE,
        explain=lambda: cell.plugins.explain("moving"),
    )
    cell.plugins.until_ready("moving", within=2 * MINUTE)
    until_used(cell, "moving")


def port_of(cell: Cell, name: str) -> str:
    found: str = cell.plugins.get("Service", name)["metadata"]["annotations"]["cnpg.io/pluginPort"]
    return found


def test_another_service_is_used(cell: Cell) -> None:
    """CloudNativePG may forget the plugin when the previous Service is deleted."""
    name = "renamed"
    cell.start(name)
    cell.plugins.patch(name, service={"name": f"{name}-elsewhere"})
    cell.plugins.until_gone("Service", name, within=3 * MINUTE)
    cell.plugins.until_ready(name, within=MINUTE)
    until_used(cell, name)


def test_renewed_certificates_fail_no_call(cell: Cell, tmp_path: Path) -> None:
    """Where CloudNativePG has to restart, it also has to find the plugin again, in seconds."""
    name, cluster, api = "renewed", cell.operator.cluster, cell.operator.api
    cell.start(name)
    peers = Peers(cluster, api)
    renewals = Renewals(api, peers)
    with (
        Phases(cluster, api, [cell.user_name(name)]) as phases,
        Probe(cluster, tmp_path, [name]) as probe,
    ):
        previous = renewals.ask_for_leaves("CertManager", name)
        renewals.until_changed(previous, within=RENEWED_WITHIN)
        peers.until_served(name, within=SERVED_WITHIN)
        if cell.version in KEEPING:
            wait.until("CloudNativePG is restarted", cell.rolls, within=2 * MINUTE)
        cell.plugins.until_ready(name, within=2 * MINUTE)
        probe.until_answered(name)
    calls = probe.calls(name)
    assert calls.clients == 2, str(calls)
    assert not calls.failed, str(calls)
    errors = phases.errors(cell.user_name(name))
    assert not [error for error in errors if not is_expected(cell, error.phase)]
    until_used(cell, name)


def is_expected(cell: Cell, phase: str) -> bool:
    return cell.version in KEEPING and UNKNOWN in phase.lower()


def test_a_previous_installation_is_taken_over(cell: Cell, tmp_path: Path) -> None:
    """CloudNativePG uses what a user applied by hand; the plugin gets a Service of its own."""
    name, previous, user = "taken", "by-hand", cell.user_name("taken")
    cluster, api = cell.operator.cluster, cell.operator.api
    cell.plugins.apply(*installation(previous, name))
    rolled_out = ("rollout", "status", f"deployment/{previous}", "-n", NAMESPACE)
    cell.plugins.kubectl(*rolled_out, "--timeout=120s")
    cell.plugins.apply(cell.user(name))
    cell.plugins.until_reported(name, user, IMAGE_VERSION, within=MINUTE)
    called = f"{PLUGIN}{plugin_name(name)}"
    with Phases(cluster, api, [user]) as phases, Probe(cluster, tmp_path, [called]) as probe:
        began = probe.until_answered(called)
        cell.plugins.apply(plugin(name, takeOver={"serviceName": previous}))
        cell.plugins.until_ready(name, within=3 * MINUTE)
        calls = probe.calls(called, began, probe.until_answered(called))
    assert not calls.failed, str(calls)
    assert calls.clients == 2, str(calls)
    errors = phases.errors(user)
    assert not [error for error in errors if not is_expected(cell, error.phase)]
    objects = cell.plugins.plugin(name)["status"]["takeOver"]["objects"]
    left = {(each["kind"], each["namespace"], each["name"]) for each in objects}
    assert left == remaining(previous, other=True)
    until_used(cell, name)


def test_a_newer_image_is_shown(cell: Cell) -> None:
    name = "upgraded"
    cell.start(name)
    cell.plugins.patch(name, image=NEWER_IMAGE)
    user = cell.user_name(name)
    cell.plugins.until_reported(name, user, NEWER_IMAGE_VERSION, within=3 * MINUTE)
    cell.plugins.until_ready(name, within=MINUTE)
    wait.until(
        "no Cluster is behind any more",
        lambda: "outdated" not in cell.plugins.plugin(name)["status"]["clusters"],
        within=MINUTE,
        explain=lambda: cell.plugins.explain(name),
    )


def test_a_sidecar_is_used(cell: Cell) -> None:
    name = "inside"
    cell.plugins.apply(sidecar(name), cell.user(name))
    cell.plugins.until_ready(name, within=2 * MINUTE)
    cell.plugins.until_reported(name, cell.user_name(name), IMAGE_VERSION, within=MINUTE)
    until_used(cell, name)


def test_a_forbidden_restart_is_reported(cell: Cell) -> None:
    name = "left-alone"
    cell.plugins.apply(plugin(name, cnpg={"restartPolicy": "Never"}))
    cell.plugins.until_ready(name)
    cell.plugins.patch(name, port=9443)
    if cell.version in KEEPING:
        found = cell.plugins.until_condition(name, "Registered", "RestartForbidden", within=MINUTE)
        assert "kubectl rollout restart deployment" in found["message"]
    else:
        cell.plugins.until_ready(name, within=MINUTE)
    cell.plugins.never("CloudNativePG was changed", cell.rolls, of=name)


def test_a_recreated_plugin_is_used(cell: Cell) -> None:
    name = "reborn"
    cell.start(name)
    cell.stop_using(name)
    cell.plugins.remove(name)
    cell.plugins.apply(plugin(name), cell.user(name))
    cell.plugins.until_ready(name, within=2 * MINUTE)
    until_used(cell, name)


def test_a_deleted_plugin_leaves_nothing(cell: Cell) -> None:
    name = "leaving"
    cell.start(name)
    cell.stop_using(name)
    cell.plugins.remove(name)
    ours = ("--namespace", "cnpg-system", f"--selector=cnpgplugin.dev/name={name}", "--output=name")
    wait.until(
        "its children are gone",
        lambda: not cell.plugins.kubectl("get", CHILDREN, *ours),
        within=MINUTE,
        explain=lambda: cell.plugins.kubectl("get", CHILDREN, *ours),
    )
    if does(cell, Fact.ADDS_FINALIZER) or does(cell, Fact.REMEMBERS_SERVICES):
        cell.plugins.apply(cell.user(name))
        wait.until("CloudNativePG has forgotten it", lambda: is_unknown(cell, name), within=MINUTE)


def is_unknown(cell: Cell, name: str) -> bool:
    status = cell.plugins.get("Cluster", cell.user_name(name), "default").get("status", {})
    return UNKNOWN in status.get("phase", "").lower()


def test_a_finalizer_of_cloudnativepg_blocks_nothing(cell: Cell) -> None:
    """Left by another version, before CloudNativePG was upgraded or downgraded to this one."""
    name = "finalized"
    cell.plugins.apply(plugin(name))
    cell.plugins.until_ready(name)
    path = f"{collection('Service')}/{name}"
    cell.operator.api.patch(path, {"metadata": {"finalizers": [FINALIZER]}})
    if does(cell, Fact.REMEMBERS_SERVICES):
        wait.until(
            "CloudNativePG removes it at once",
            lambda: not cell.plugins.get("Service", name)["metadata"].get("finalizers"),
            within=15,
        )
    cell.plugins.remove(name)
    cell.plugins.until_gone("Service", name, within=15)


def test_a_temporary_second_service_costs_nothing(cell: Cell) -> None:
    name, other = "rivalled", "rivalled-second"
    cell.start(name)
    own = cell.plugins.get("Service", name)["metadata"]["annotations"]
    second = service(other, labels={LABEL: plugin_name(name)})
    second["metadata"]["annotations"] = {
        key: value for key, value in own.items() if key.startswith("cnpg.io/")
    }
    cell.plugins.apply(second)
    cell.plugins.until_condition(name, "Accepted", "NameConflict", within=30)
    cell.plugins.delete("Service", other)
    cell.plugins.until_gone("Service", other, within=30)
    cell.plugins.until_ready(name, within=MINUTE)
    until_used(cell, name)
