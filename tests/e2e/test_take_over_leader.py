"""A plugin that listens on the leader only: its standby, and a take-over by another Deployment.

No pod serves between two leaders. That must not take longer than what users know: the rollout of
the previous Deployment with strategy Recreate. Both are measured on the same machine, one after the
other, with four calls a second.
"""

import re
from dataclasses import dataclass

import pytest

from tests.support import wait
from tests.support.e2e.installation import ALLOWED_ROLE
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.previous import leader, lease_role
from tests.support.e2e.probe import Calls, Probe
from tests.support.e2e.probe_calls import PLUGIN
from tests.support.e2e.rolls import observe
from tests.support.resources import NAMESPACE, Manifest, behaviour, plugin, plugin_name

pytestmark = pytest.mark.cnpg("untouched")

NAME, PREVIOUS, LEASE = "taken-leader", "led-by-hand", "822e3f5c.example.com"
BROKEN, BROKEN_PREVIOUS, BROKEN_LEASE = "taken-badly", "well-by-hand", "923f4a6d.example.com"
CALLED = f"{PLUGIN}{plugin_name(NAME)}"

MARGIN = 10.0 if wait.BESIDE_OTHERS else 1.0
"""Seconds by which two measurements of the same thing differ. Beside other clusters, pods wait for
a processor."""


LED, LED_LEASE = "led-by-one", "6c1d88aa.example.com"


def taking(name: str, previous: str, lease: str, **settings: str) -> Manifest:
    """A resource that takes over the Service of a leader, and keeps it."""
    return plugin(
        name,
        env=behaviour(name, SAMPLE_LEASE=lease, **settings),
        roles=[ALLOWED_ROLE],
        service={"name": previous},
        takeOver={"serviceName": previous},
    )


def until_rolled_out(plugins: Plugins, deployment: str) -> None:
    where = ("-n", NAMESPACE, "--timeout=120s")
    plugins.kubectl("rollout", "status", f"deployment/{deployment}", *where)


@dataclass
class Measured:
    """The calls during both."""

    rollout: Calls
    take_over: Calls
    rolled: bool


@pytest.fixture(scope="module")
def measured(
    operator: Operator, module_plugins: Plugins, tmp_path_factory: pytest.TempPathFactory
) -> Measured:
    plugins = module_plugins
    plugins.apply(lease_role(ALLOWED_ROLE), *leader(PREVIOUS, NAME, LEASE))
    until_rolled_out(plugins, PREVIOUS)
    before = observe(operator.api)
    with Probe(operator.cluster, tmp_path_factory.mktemp("probe"), [CALLED]) as probe:
        began = probe.until_answered(CALLED)
        plugins.kubectl("rollout", "restart", f"deployment/{PREVIOUS}", "-n", NAMESPACE)
        until_rolled_out(plugins, PREVIOUS)
        between = probe.until_answered(CALLED)
        plugins.apply(taking(NAME, PREVIOUS, LEASE))
        plugins.until_ready(NAME, within=120)
        ended = probe.until_answered(CALLED, calls=20)
        found = Measured(
            probe.calls(CALLED, began, between),
            probe.calls(CALLED, between, ended),
            observe(operator.api) != before,
        )
    print(f"Recreate: {found.rollout}\ntake-over: {found.take_over}")
    return found


def test_it_takes_no_longer_than_the_previous_deployments_own_rollout(measured: Measured) -> None:
    assert measured.rollout.failed, "a rollout with strategy Recreate has an outage"
    limit = measured.rollout.longest_outage + MARGIN
    assert measured.take_over.longest_outage <= limit, str(measured.take_over)
    assert not measured.rolled


def test_the_previous_deployment_is_scaled_to_zero_and_left(
    measured: Measured, module_plugins: Plugins
) -> None:
    assert module_plugins.get("Deployment", PREVIOUS)["spec"]["replicas"] == 0
    left = module_plugins.plugin(NAME)["status"]["takeOver"]["objects"]
    assert {"kind": "Deployment", "namespace": NAMESPACE, "name": PREVIOUS} in left
    assert {"kind": "RoleBinding", "namespace": NAMESPACE, "name": PREVIOUS} in left


def test_a_plugin_that_does_not_serve_as_the_leader_gives_way(plugins: Plugins) -> None:
    plugins.apply(lease_role(ALLOWED_ROLE), *leader(BROKEN_PREVIOUS, BROKEN, BROKEN_LEASE))
    until_rolled_out(plugins, BROKEN_PREVIOUS)
    plugins.apply(taking(BROKEN, BROKEN_PREVIOUS, BROKEN_LEASE, SAMPLE_MISBEHAVE="no-listen"))
    plugins.until_condition(BROKEN, "Available", "TakeOverFailed", within=180)

    def served() -> bool:
        live = plugins.get("Deployment", BROKEN_PREVIOUS)
        own = plugins.get("Deployment", BROKEN)
        return bool(live["status"].get("availableReplicas") and own["spec"]["replicas"] == 0)

    wait.until("the previous one serves again", served, within=90)
    service = plugins.get("Service", BROKEN_PREVIOUS)
    assert service["spec"]["selector"] == {"app": BROKEN_PREVIOUS}


def test_a_plugin_with_a_standby_is_ready_and_survives_its_leader(plugins: Plugins) -> None:
    """The other pod waits for the Lease, also while Kubernetes calls the Deployment incomplete."""
    at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}
    plugins.apply(
        lease_role(ALLOWED_ROLE),
        plugin(
            LED,
            env=behaviour(LED, SAMPLE_LEASE=LED_LEASE),
            roles=[ALLOWED_ROLE],
            replicas=2,
            strategy=at_once,
        ),
    )
    plugins.until_ready(LED)
    leader, standby = leader_and_standby(plugins)
    status = plugins.get("Deployment", LED)["status"]
    found = {each["type"]: each["status"] for each in status["conditions"]}
    assert (status["readyReplicas"], found["Available"]) == (1, "True")

    plugins.delete("Pod", leader)
    until_led_without(plugins, {leader})
    plugins.until_ready(LED)
    plugins.patch(LED, podAnnotations={"example.com/changed": "true"})
    until_led_without(plugins, {leader, standby, *leader_and_standby(plugins)})
    plugins.until_ready(LED)


def until_led_without(plugins: Plugins, previous: set[str]) -> None:
    """Wait until other pods than the previous ones are leader and standby."""

    def replaced() -> bool:
        now = leader_and_standby(plugins)
        return all(now) and previous.isdisjoint(now)

    wait.until("others lead", replaced, within=60, explain=lambda: plugins.explain(LED))


def leader_and_standby(plugins: Plugins) -> tuple[str, str]:
    """The two pods that the condition names; empty where it names none."""
    message = str(plugins.condition(LED, "Available")["message"])
    named = re.search(rf"pod (\S+) serves, .* Lease {LED_LEASE}; standby, .*: (\S+)\.", message)
    return (named[1], named[2]) if named else ("", "")
