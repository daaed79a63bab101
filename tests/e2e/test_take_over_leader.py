"""A plugin that listens on the leader only: its standby, and a take-over by another Deployment.

No pod serves between two leaders. That must not take longer than what users know: the rollout of
the previous Deployment with strategy Recreate. Both are measured on the same machine, one after the
other, with four calls a second.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.builds import BARMAN_CLOUD as BARMAN_CLOUD_PROGRAM
from tests.cluster.images import BARMAN_CLOUD as BARMAN_CLOUD_IMAGE
from tests.cluster.images import from_here
from tests.support import wait
from tests.support.e2e.installation import ALLOWED_ROLE, BARMAN_CLOUD, load_once
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.previous import leader, lease_role
from tests.support.e2e.probe import Calls, Probe
from tests.support.e2e.probe_calls import PLUGIN
from tests.support.e2e.remains import marked
from tests.support.e2e.rolls import observe
from tests.support.resources import NAMESPACE, Manifest, behaviour, plugin, plugin_name
from tests.support.thorough import rows

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

NAME, PREVIOUS, LEASE = "taken-leader", "led-by-hand", "822e3f5c.example.com"
BROKEN, BROKEN_PREVIOUS, BROKEN_LEASE = "taken-badly", "well-by-hand", "923f4a6d.example.com"
PUBLISHED_IMAGE = "ghcr.io/cloudnative-pg/plugin-barman-cloud-testing:main"

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


@dataclass(frozen=True)
class Led:
    """A plugin of which only the leader listens, as its users have it."""

    name: str
    """Name of the resource that takes over."""
    previous: str
    """Name of the previous Service and Deployment."""
    plugin_name: str
    binding: str
    """Name of the previous RoleBinding."""

    def __str__(self) -> str:
        return self.previous

    @property
    def called(self) -> str:
        """What the probe calls."""
        return f"{PLUGIN}{self.plugin_name}"


SAMPLE = Led(NAME, PREVIOUS, plugin_name(NAME), PREVIOUS)
PUBLISHED = Led(
    "barman-cloud-taken",
    "barman-cloud",
    "barman-cloud.cloudnative-pg.io",
    "barman-plugin-leader-election-rolebinding",
)
"""plugin-barman-cloud 0.14.0, from its own manifest."""


@contextmanager
def published(operator: Operator) -> Iterator[Manifest]:
    """Install the published plugin by its manifest; give the resource that takes it over."""
    cluster = operator.cluster
    load_once(cluster, BARMAN_CLOUD_IMAGE.tag, BARMAN_CLOUD_IMAGE.archive.name)
    text = BARMAN_CLOUD_PROGRAM.asset("manifest.yaml").read_text()
    text = text.replace(PUBLISHED_IMAGE, BARMAN_CLOUD_IMAGE.tag)
    roles = (BARMAN_CLOUD / "roles.yaml").read_text()
    objects = [*yaml.safe_load_all(text), *yaml.safe_load_all(roles)]
    installed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*map(marked, objects)]})
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=installed)
    resource = yaml.safe_load(from_here((BARMAN_CLOUD / "plugin.yaml").read_text()))
    resource["metadata"] = {"name": PUBLISHED.name, "namespace": NAMESPACE}
    resource["spec"]["service"] = {"name": PUBLISHED.previous}
    resource["spec"]["takeOver"] = {"serviceName": PUBLISHED.previous}
    yield resource
    flags = ("--ignore-not-found", "--timeout=120s", "-n", NAMESPACE)
    cluster.kubectl("delete", *flags, "-f", "-", input=installed)


@dataclass
class Measured:
    """The calls during both."""

    led: Led
    rollout: Calls
    take_over: Calls
    rolled: bool


@pytest.fixture(scope="module", params=rows((SAMPLE, PUBLISHED), (SAMPLE,)), ids=str)
def measured(
    request: pytest.FixtureRequest,
    operator: Operator,
    module_plugins: Plugins,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Measured]:
    plugins, led = module_plugins, request.param
    directory = tmp_path_factory.mktemp("probe")
    with ExitStack() as installed:
        if led is PUBLISHED:
            resource = installed.enter_context(published(operator))
            installed.callback(plugins.clean_up)
        else:
            plugins.apply(lease_role(ALLOWED_ROLE), *leader(PREVIOUS, NAME, LEASE))
            resource = taking(NAME, PREVIOUS, LEASE)
        yield measure(plugins, led, resource, directory)


def measure(plugins: Plugins, led: Led, resource: Manifest, directory: Path) -> Measured:
    until_rolled_out(plugins, led.previous)
    before = observe(plugins.api)
    with Probe(plugins.operator.cluster, directory, [led.called]) as probe:
        began = probe.until_answered(led.called)
        plugins.kubectl("rollout", "restart", f"deployment/{led.previous}", "-n", NAMESPACE)
        until_rolled_out(plugins, led.previous)
        between = probe.until_answered(led.called)
        plugins.apply(resource)
        plugins.until_ready(led.name, within=120)
        ended = probe.until_answered(led.called, calls=20)
        found = Measured(
            led,
            probe.calls(led.called, began, between),
            probe.calls(led.called, between, ended),
            observe(plugins.api) != before,
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
    led = measured.led
    assert module_plugins.get("Deployment", led.previous)["spec"]["replicas"] == 0
    left = module_plugins.plugin(led.name)["status"]["takeOver"]["objects"]
    for kind, name in (("Deployment", led.previous), ("RoleBinding", led.binding)):
        assert {"kind": kind, "namespace": NAMESPACE, "name": name} in left


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
