"""Neither broken sidecars nor an operator that dies keep CloudNativePG from working.

Unlike a plugin elsewhere, a container in its pod can keep it from starting. Here all kinds of
broken plugins are added at once to a real CloudNativePG, which has to serve a Cluster meanwhile.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import wait
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import (
    MINUTE,
    WHERE,
    Heartbeat,
    Host,
    scaled_to_nothing,
    sidecar,
    template,
    until_ready,
    until_rolled,
    until_template,
)
from tests.support.resources import IMAGE, Manifest, behaviour, postgres

pytestmark = [pytest.mark.cnpg("sidecars"), pytest.mark.usefixtures("leaving_cnpg_as_found")]

SLACK = 3.0
"""Seconds by which two rollouts of the same kind may differ."""

LEADING = 10.0
"""Seconds by which two changes of CloudNativePG's leader may differ."""


@dataclass(frozen=True)
class Broken:
    """A plugin with a fault, and the condition that reports it."""

    name: str
    fault: dict[str, Any]
    condition: str
    reasons: tuple[str, ...]
    said: str

    @property
    def manifest(self) -> Manifest:
        return sidecar(self.name, **self.fault)

    @property
    def healthy(self) -> dict[str, Any]:
        """The fields that fix it."""
        return {"image": IMAGE, "env": behaviour(self.name)}


def acting(name: str, **settings: str) -> dict[str, Any]:
    return {"env": behaviour(name, **settings)}


# Kubernetes starts them in the order of their names, and none after one that cannot be made: those
# after it are tried once it was removed.
BROKEN = (
    Broken(
        "bad-crash",
        acting("bad-crash", SAMPLE_MISBEHAVE="crash"),
        "Available",
        ("CrashLoop",),
        "crashing, as asked by",
    ),
    Broken(
        "bad-image",
        {"image": "localhost/no-such-plugin:1"},
        "Available",
        ("ImagePullError",),
        "localhost/no-such-plugin:1",
    ),
    Broken(
        "bad-name",
        acting("bad-name", SAMPLE_NAME="another.example.com"),
        "HandshakeSucceeded",
        ("SocketMissing", "IdentityMismatch"),
        "another.example.com",
    ),
    Broken(
        "bad-silent",
        acting("bad-silent", SAMPLE_MISBEHAVE="no-listen"),
        "HandshakeSucceeded",
        ("SocketMissing",),
        "did not open the socket",
    ),
)
LATE = "merely-late"
NAMES = [broken.name for broken in BROKEN]


def test_cloudnativepg_keeps_working_beside_broken_sidecars_and_one_roll_fixes_them(
    plugins: Plugins,
) -> None:
    beating, original = "e2e-beating", template(plugins.api)
    plugins.apply(postgres(beating, imageName="localhost/none:17"))
    plain_gap, plain_pause = _restart_plainly(plugins, beating)
    with Heartbeat(plugins.api, beating) as heart, Host(plugins.api) as host:
        late = sidecar(LATE, env=behaviour(LATE, SAMPLE_START_DELAY="6s"))
        plugins.apply(*(broken.manifest for broken in BROKEN), late)
        for broken in BROKEN:
            _until_told(plugins, broken)
        until_ready(plugins, LATE)
        until_rolled(plugins)
        ill = host.rolls
        for broken in BROKEN:
            plugins.patch(broken.name, **broken.healthy)
        until_ready(plugins, *NAMES, LATE, within=2 * MINUTE)
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        gap, pause, fixed = host.longest_unavailable, heart.longest_pause(), host.rolls - ill
    numbers = (
        f"without an available replica {gap:.1f} s, a plain restart {plain_gap:.1f} s; Cluster not "
        f"reconciled {pause:.1f} s, plain {plain_pause:.1f} s; {ill} rolls while broken, {fixed} "
        "for the cure"
    )
    assert gap <= plain_gap + SLACK * wait.PATIENCE, numbers
    assert pause <= plain_pause + LEADING * wait.PATIENCE, numbers
    assert ill == 2, f"the second takes out what cannot run; {numbers}"
    assert fixed == 1, numbers
    plugins.remove(*NAMES, LATE)
    until_template(plugins, original, within=1)
    until_rolled(plugins)


def _restart_plainly(plugins: Plugins, beating: str) -> tuple[float, float]:
    """Restart as a user does; return the longest times without a replica, and without a reconcile.

    The restart's annotation is removed again, which is another restart.
    """
    with Heartbeat(plugins.api, beating) as heart, Host(plugins.api) as plain:
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        for restart in ("restart", "undo"):
            plugins.kubectl("rollout", restart, f"deployment/{CNPG}", *WHERE)
            until_rolled(plugins)
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        return plain.longest_unavailable, heart.longest_pause()


def _until_told(plugins: Plugins, broken: Broken) -> None:
    def reported() -> bool:
        found = plugins.condition(broken.name, broken.condition)
        return found.get("reason") in broken.reasons and broken.said in found["message"]

    wait.until(
        f"{broken.condition} of {broken.name} is one of {broken.reasons}: {broken.said}",
        reported,
        within=3 * MINUTE,
        explain=lambda: plugins.explain(broken.name),
    )


def test_a_crashing_sidecar_does_not_end_the_previous_pod(plugins: Plugins, host: Host) -> None:
    """It answers the gate, and crashes a second after each start: its pod is ready in between."""
    crashing, original = BROKEN[0], template(plugins.api)
    plugins.apply(crashing.manifest)
    wait.until("it is placed", lambda: host.rolls, within=MINUTE)
    wait.until("it was removed", lambda: host.rolls > 1, within=MINUTE, pause=0.5)
    _until_told(plugins, crashing)
    until_rolled(plugins)
    until_template(plugins, original, within=1)
    assert host.rolls == 2
    assert host.longest_unavailable < SLACK * wait.PATIENCE


def test_a_sidecar_that_cannot_start_is_removed_quickly_where_no_other_pod_serves(
    plugins: Plugins, host: Host
) -> None:
    name, original = "bad-command", template(plugins.api)
    with scaled_to_nothing(plugins):
        plugins.apply(sidecar(name, command=["/no-such-program"]))
        wait.until("it is placed", lambda: template(plugins.api) != original, within=MINUTE)
    found = plugins.condition(name, "Available")
    assert found["reason"] == "CrashLoop"
    assert "/no-such-program" in found["message"]
    assert "It was removed from Deployment" in found["message"]
    assert template(plugins.api) == original
    assert host.rolls == 1
    plugins.remove(name)
    assert host.rolls == 1


def test_an_operator_killed_around_a_roll_rolls_once(
    operator: Operator, plugins: Plugins, host: Host
) -> None:
    name = "killing"
    plugins.apply(sidecar(name))
    recorded = "the operator has recorded what it is about to do"
    wait.until(
        recorded, lambda: "sidecar" in plugins.plugin(name).get("status", {}), within=10, pause=0.02
    )
    assert host.rolls == 0
    operator.kill()
    wait.until("it is done", lambda: host.rolls, within=MINUTE, pause=0.02)
    operator.kill()
    until_ready(plugins, name, within=2 * MINUTE)
    operator.writes_until_calm(operator.audit.mark())
    assert host.rolls == 1
