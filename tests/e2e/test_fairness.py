"""A large, slow or talkative plugin delays no other to more than twice its usual time."""

import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.cluster.errors import ClusterError
from tests.support import wait
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import Manifest, behaviour, plugin
from tests.support.thorough import rows, times

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

LOOK: Final = 1.0
"""Inaccuracy, in seconds, of a measurement from outside."""

ELSEWHERE: Final = "default"
"""A namespace that is not managed."""

RSA: Final = {"provider": "SelfManaged", "privateKey": {"algorithm": "RSA", "size": 4096}}
PATIENT: Final = {"timeout": "30s", "interval": "10s"}


def large_keys(count: int) -> list[Manifest]:
    return [plugin(f"large-{n}", tls=RSA) for n in range(count)]


def talkative(count: int) -> list[Manifest]:
    names = [f"talkative-{n}" for n in range(count)]
    return [plugin(name, env=behaviour(name, SAMPLE_MISBEHAVE="verbose")) for name in names]


def silent(count: int) -> list[Manifest]:
    names = [f"silent-{n}" for n in range(count)]
    env = {name: behaviour(name, SAMPLE_MISBEHAVE="hang") for name in names}
    return [plugin(name, env=env[name], handshake=PATIENT) for name in names]


def flood(count: int) -> list[Manifest]:
    return [plugin(f"flood-{n}", ELSEWHERE) for n in range(count)]


NEIGHBOURS: Final[list[tuple[str, Callable[[], list[Manifest]]]]] = [
    ("large keys", lambda: large_keys(6)),
    ("talkative", lambda: talkative(4)),
    ("silent", lambda: silent(8)),
    ("flood", lambda: flood(200)),
    ("all of them", lambda: [*large_keys(1), *talkative(1), *silent(5), *flood(20)]),
]


@pytest.fixture(scope="module")
def usual(module_plugins: Plugins) -> float:
    """Seconds that the operator usually takes until a plugin is published."""
    return max(measure(module_plugins, f"usual-{n}") for n in range(times(3, 2)))


def measure(plugins: Plugins, name: str) -> float:
    """Seconds until a plugin is published, without those that its pod takes to start.

    The neighbours' processes compete for the machine, and a pod's start is not the operator's work.
    """
    began = time.monotonic()

    def after(what: str, look: Callable[[], object]) -> float:
        wait.until(what, look, within=120, explain=lambda: plugins.explain(name))
        return time.monotonic() - began

    def available() -> object:
        return plugins.get("Deployment", name)["status"].get("availableReplicas")

    plugins.apply(plugin(name, tls={"provider": "SelfManaged"}))
    made = after("the Deployment is made", lambda: plugins.find("Deployment", name))
    runs = after("the plugin runs", available)
    published = after("the plugin is published", lambda: plugins.labelled(name))
    plugins.until_ready(name, within=120)
    print(f"{name}: made {made:.1f} s, runs {runs:.1f} s, published {published:.1f} s")
    return published - (runs - made)


def until_they_run(plugins: Plugins, neighbours: list[Manifest]) -> None:
    """Wait until the neighbours' pods run: starting them is the machine's work, not ours."""
    names = [n["metadata"]["name"] for n in neighbours if n["metadata"]["namespace"] != ELSEWHERE]

    def waiting() -> list[str]:
        found = {name: plugins.find("Deployment", name) for name in names}
        return [n for n, d in found.items() if not (d and d["status"].get("availableReplicas"))]

    wait.until("the neighbours run", lambda: not waiting(), within=150, pause=1)


def provoke(plugins: Plugins, neighbours: list[Manifest]) -> None:
    """Give the neighbours work: new keys, or changes to evaluate."""
    for body in neighbours:
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        plugins.api.patch(
            f"{collection('CNPGPlugin', namespace)}/{name}",
            {"metadata": {"annotations": {"cnpgplugin.dev/renew-requested-at": stamp}}},
        )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "neighbours",
    [pytest.param(neighbours, id=name) for name, neighbours in rows(NEIGHBOURS, [NEIGHBOURS[-1]])],
)
def test_an_ordinary_plugin_is_ready_within_twice_its_usual_time(
    plugins: Plugins, usual: float, neighbours: Callable[[], list[Manifest]]
) -> None:
    bodies = neighbours()
    plugins.apply(*bodies)
    until_they_run(plugins, bodies)
    provoke(plugins, bodies)
    took = measure(plugins, "ordinary")
    assert took <= (2 * usual + LOOK) * wait.PATIENCE, f"{took:.1f} s instead of {usual:.1f} s"

    for body in bodies:
        name = body["metadata"]["name"]
        if name.startswith("talkative"):
            reported = plugins.until_condition(name, "Ready", "NotAPlugin", within=60)
            assert "GetPluginCapabilities with more than 64 KiB" in reported["message"]
        elif name.startswith("silent"):
            plugins.until_condition(name, "Ready", "NoAnswer", within=120)
        elif name.startswith("flood"):
            plugins.until_condition(name, "Ready", "CNPGNotFound", within=60, namespace=ELSEWHERE)


def test_a_key_that_takes_too_long_to_generate_is_refused(plugins: Plugins) -> None:
    tls = {"provider": "SelfManaged", "privateKey": {"algorithm": "RSA", "size": 8192}}
    with pytest.raises(ClusterError) as refused:
        plugins.apply(plugin("too-large", tls=tls))
    assert "should be less than or equal to 4096" in str(refused.value)
