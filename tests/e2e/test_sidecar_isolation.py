"""What sidecars cannot do to each other: take a name, add a plugin, or block one.

CloudNativePG takes every entry of its socket directory for a plugin; no sidecar can write there.
"""

import pytest

from tests.support import wait
from tests.support.e2e.plugins import LABEL, Plugins
from tests.support.e2e.refused_containers import refusing_containers
from tests.support.e2e.sidecars import (
    MINUTE,
    Host,
    pods,
    sidecar,
    until_ready,
)
from tests.support.resources import (
    IMAGE_VERSION,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    behaviour,
    plugin_name,
    postgres,
    service,
)

pytestmark = [pytest.mark.cnpg("sidecars"), pytest.mark.usefixtures("leaving_cnpg_as_found")]

NOWHERE = "localhost/none:17"
"""Image of a Cluster whose pods need not start."""

GHOST = plugin_name("iso-ghost")
"""No resource declares it."""


def test_a_sidecar_cannot_impersonate_other_plugins_with_its_sockets(
    plugins: Plugins, host: Host
) -> None:
    """It starts before the one whose name it takes; CloudNativePG sees neither of its sockets."""
    thief, victim, using, asking = "iso-a-thief", "iso-victim", "e2e-iso", "e2e-iso-ghost"
    stolen = f"{plugin_name(victim)},{GHOST}"
    plugins.apply(
        sidecar(thief, env=behaviour(thief, SAMPLE_SOCKETS=stolen)),
        sidecar(victim, image=NEWER_IMAGE),
        postgres(using, plugin_name(thief), plugin_name(victim), imageName=NOWHERE),
        postgres(asking, GHOST, imageName=NOWHERE),
    )
    until_ready(plugins, thief, victim, within=2 * MINUTE)
    plugins.until_reported(thief, using, IMAGE_VERSION, within=MINUTE)
    plugins.until_reported(victim, using, NEWER_IMAGE_VERSION, within=MINUTE)
    wait.until(
        "CloudNativePG does not know the plugin that no resource declares",
        lambda: "unknown plugin" in _phase(plugins, asking),
        within=MINUTE,
        explain=lambda: _phase(plugins, asking),
    )
    assert host.rolls == 1
    _check_mounts(plugins, thief, victim)


def _phase(plugins: Plugins, cluster: str) -> str:
    status = plugins.get("Cluster", cluster, "default").get("status") or {}
    return f"{status.get('phase')}: {status.get('phaseReason')}"


def _check_mounts(plugins: Plugins, *names: str) -> None:
    """Each sidecar mounts a socket directory of its own, and no other container can write there."""
    (pod,) = pods(plugins.api)
    writers: dict[str, list[str]] = {}
    for container in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]:
        for mount in container["volumeMounts"]:
            if mount["name"].startswith("cnpg-plugins-socket") and not mount.get("readOnly"):
                writers.setdefault(mount["name"], []).append(container["name"])
    expected = {f"cnpg-plugins-socket-{name}": [f"cnpg-plugin-{name}"] for name in names}
    assert writers == {**expected, "cnpg-plugins-sockets": ["cnpg-plugins-gate"]}


def test_a_foreign_service_with_the_same_plugin_name_is_a_conflict(
    plugins: Plugins, host: Host
) -> None:
    name, other = "iso-named", "iso-foreign"
    plugins.apply(service(other, labels={LABEL: plugin_name(name)}), sidecar(name))
    found = plugins.until_condition(name, "Accepted", "NameConflict", within=15)
    assert f"cnpg-system/{other}" in found["message"]
    assert host.rolls == 0
    plugins.delete("Service", other)
    until_ready(plugins, name)


def test_a_sidecar_that_a_policy_refuses_blocks_no_other(plugins: Plugins, host: Host) -> None:
    bad, good = "iso-a-refused", "iso-b-welcome"
    with refusing_containers(plugins, f"cnpg-plugin-{bad}", within="deployments"):
        plugins.apply(sidecar(bad), sidecar(good))
        until_ready(plugins, good)
        found = plugins.until_condition(bad, "Available", "PodsRefused", within=15)
        assert "not here, says the test" in found["message"]
        assert found["status"] == "False"
        assert host.rolls == 1
    plugins.patch(bad, resources={"requests": {"cpu": "5m"}})
    until_ready(plugins, bad, good)
