"""A plugin that listens on the leader only: its standby, and a take-over by another Deployment.

No pod serves between two leaders. That must not take longer than what users know: the rollout of
the previous Deployment with strategy Recreate. Both are measured on the same machine, one after the
other, with four calls a second, beside a database that CloudNativePG reconciles every second.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.paths import MANIFESTS
from tests.support import wait
from tests.support.e2e.backups import NAME as BARMAN_CLOUD_SERVICE
from tests.support.e2e.backups import PLUGIN_NAME, SOURCE, Backups, built_here
from tests.support.e2e.installation import ALLOWED_ROLE, BARMAN_CLOUD
from tests.support.e2e.phases import Phases
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.previous import (
    CHART_NAME,
    barman_cloud,
    barman_cloud_of_its_chart,
    leader,
    lease_role,
)
from tests.support.e2e.probe import INTERVAL, Calls, Probe
from tests.support.e2e.probe_calls import PLUGIN
from tests.support.e2e.rolls import observe, observe_databases
from tests.support.resources import NAMESPACE, Manifest, behaviour, plugin, plugin_name
from tests.support.thorough import rows

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

NAME, PREVIOUS, LEASE = "taken-leader", "led-by-hand", "822e3f5c.example.com"
BROKEN, BROKEN_PREVIOUS, BROKEN_LEASE = "taken-badly", "well-by-hand", "923f4a6d.example.com"

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
    """Name of the previous Deployment."""
    binding: str
    """Name of the previous RoleBinding."""
    plugin_name: str = PLUGIN_NAME
    database: str = SOURCE
    """Name of the Cluster that uses it, if one does."""
    service: str = BARMAN_CLOUD_SERVICE
    """Name of the plugin's own Service."""
    manifest: Callable[[], list[Manifest]] = barman_cloud

    def __str__(self) -> str:
        return self.previous

    @property
    def called(self) -> str:
        """What the probe calls."""
        return f"{PLUGIN}{self.plugin_name}"


SAMPLE = Led(
    NAME,
    PREVIOUS,
    PREVIOUS,
    plugin_name=plugin_name(NAME),
    database="",
    service=PREVIOUS,
    manifest=lambda: [lease_role(ALLOWED_ROLE), *leader(PREVIOUS, NAME, LEASE)],
)
PUBLISHED = Led("barman-cloud-taken", "barman-cloud", "barman-plugin-leader-election-rolebinding")
"""plugin-barman-cloud 0.14.0, from its own manifest."""
CHARTED = Led(
    "barman-cloud-moved",
    CHART_NAME,
    f"{CHART_NAME}-leader-election-rolebinding",
    service="barman-cloud-moved",
    manifest=barman_cloud_of_its_chart,
)
"""The same with the names of its chart; Helm owns the Service, so the plugin gets another one."""


@contextmanager
def published(plugins: Plugins, led: Led) -> Iterator[Manifest]:
    """Install the published plugin, and a database that uses it; give the resource."""
    installed, used = Backups(plugins), Backups(plugins)
    files = built_here(used.cluster.kubectl("kustomize", str(BARMAN_CLOUD)))
    [resource] = [each for each in files if each["kind"] == "CNPGPlugin"]
    resource["metadata"]["name"] = led.name
    resource["spec"]["service"] = {"name": led.service}
    resource["spec"]["takeOver"] = {"serviceName": BARMAN_CLOUD_SERVICE}
    try:
        installed.apply([*led.manifest(), *(each for each in files if each is not resource)])
        until_rolled_out(plugins, led.previous)
        used.cluster.add_volume(led.database)
        used.apply_file(MANIFESTS / "s3.yaml")
        used.apply_directory(BARMAN_CLOUD / "example")
        used.until_healthy(led.database)
        yield resource
        used.until_healthy(led.database)
        used.until_archived(led.database)
    finally:
        used.delete()
        used.cluster.kubectl("delete", "pv", led.database, "--timeout=300s")
        plugins.clean_up()
        installed.delete()


@dataclass
class Seen:
    """What was seen during a rollout or a take-over."""

    calls: Calls
    error: float
    """Seconds of the longest error phase of the Cluster."""

    def __str__(self) -> str:
        return f"{self.calls}\n  the Cluster's longest error phase: {self.error:.2f} s"


@dataclass
class Measured:
    """The calls during both."""

    led: Led
    rollout: Seen
    take_over: Seen
    rolled: bool
    """Whether CloudNativePG was rolled."""
    databases: list[dict[str, int]]
    """The databases' pods and their restarts, before and after."""
    reports: list[dict[str, str]]
    """What the Cluster reported about plugins, at each change."""


@pytest.fixture(scope="module", params=rows((SAMPLE, PUBLISHED, CHARTED), (SAMPLE,)), ids=str)
def measured(
    request: pytest.FixtureRequest,
    module_plugins: Plugins,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Measured]:
    plugins, led = module_plugins, request.param
    directory = tmp_path_factory.mktemp("probe")
    if led is not SAMPLE:
        with published(plugins, led) as resource:
            yield measure(plugins, led, resource, directory)
        return
    plugins.apply(*led.manifest())
    yield measure(plugins, led, taking(NAME, PREVIOUS, LEASE), directory)


def probing(cluster: Cluster, directory: Path, led: Led) -> Probe:
    """Call it as CloudNativePG does."""
    directory.mkdir()
    return Probe(cluster, directory, [led.called])


def measure(plugins: Plugins, led: Led, resource: Manifest, directory: Path) -> Measured:
    """Roll the previous Deployment out, then take it over, while the Cluster is reconciled."""
    api, cluster = plugins.api, plugins.operator.cluster
    until_rolled_out(plugins, led.previous)
    before, databases = observe(api), [observe_databases(api, led.database)]
    with (
        Phases(cluster, api, list(filter(None, [led.database]))) as phases,
        probing(cluster, directory / "rollout", led) as first,
    ):
        began = first.until_answered(led.called)
        plugins.kubectl("rollout", "restart", f"deployment/{led.previous}", "-n", NAMESPACE)
        until_rolled_out(plugins, led.previous)
        between = first.until_answered(led.called)
        # Calls of the rollout may hang for half a minute, and a probe has only five under way.
        with probing(cluster, directory / "take-over", led) as second:
            begun = second.until_answered(led.called)
            plugins.apply(resource)
            plugins.until_ready(led.name, within=120)
            ended = second.until_answered(led.called, calls=20)

            def see(probe: Probe, since: float, until: float) -> Seen:
                calls = probe.calls(led.called, since, until)
                return Seen(calls, phases.longest_error(led.database, since, until))

            rollout, take_over = see(first, began, between), see(second, begun, ended)
        reports = phases.reports(led.database)
    print(f"Recreate: {rollout}\ntake-over: {take_over}")
    databases.append(observe_databases(api, led.database))
    print(f"database pods and their restarts, before and after: {databases}")
    return Measured(led, rollout, take_over, observe(api) != before, databases, reports)


def test_it_takes_no_longer_than_the_previous_deployments_own_rollout(measured: Measured) -> None:
    rollout, take_over = measured.rollout.calls, measured.take_over.calls
    assert rollout.longest_silence > 2 * INTERVAL, "a rollout with strategy Recreate has an outage"
    assert take_over.longest_silence <= rollout.longest_silence + MARGIN, str(take_over)
    assert not measured.rolled


def test_a_database_is_in_an_error_phase_no_longer_and_no_pod_of_it_is_rolled(
    measured: Measured,
) -> None:
    assert measured.take_over.error <= measured.rollout.error + MARGIN
    assert bool(measured.reports) == bool(measured.led.database)
    assert all(measured.led.plugin_name in report for report in measured.reports)
    before, after = measured.databases
    assert after == before


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
