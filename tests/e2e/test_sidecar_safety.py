"""Sidecars that do not work never keep CloudNativePG from its work, nor does an operator that dies.

A container in its pod can do what no plugin elsewhere can: keep it from starting. All kinds of
broken plugins come at once here, on a real CloudNativePG, which has to serve a Cluster meanwhile.
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
"""Seconds by which two rollouts of the same kind may differ here."""

LEADING = 10.0
"""Seconds by which two changes of CloudNativePG's leader may differ here."""


@dataclass(frozen=True)
class Broken:
    """A plugin with a fault, and where it is told."""

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
        """The fields that make it work."""
        return {"image": IMAGE, "env": behaviour(self.name)}


def acting(name: str, **settings: str) -> dict[str, Any]:
    return {"env": behaviour(name, **settings)}


# Kubernetes starts them in the order of their names, and none after one that cannot be made: those
# after it are tried once it was taken out.
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
        acting("bad-name", SAMPLE_NAME="somebody-else.example.com"),
        "HandshakeSucceeded",
        ("SocketMissing", "IdentityMismatch"),
        "somebody-else.example.com",
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


def test_all_kinds_of_broken_ones_leave_cloudnativepg_at_work_and_are_cured_in_one_roll(
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
        gap, pause, cured = host.longest_unavailable, heart.longest_pause(), host.rolls - ill
    numbers = (
        f"without an available replica {gap:.1f} s, a plain restart {plain_gap:.1f} s; Cluster not "
        f"reconciled {pause:.1f} s, plain {plain_pause:.1f} s; {ill} rolls while broken, {cured} "
        "for the cure"
    )
    assert gap <= plain_gap + SLACK * wait.PATIENCE, numbers
    assert pause <= plain_pause + LEADING * wait.PATIENCE, numbers
    assert ill == 2, f"the second takes out what cannot run; {numbers}"
    assert cured == 1, numbers
    plugins.remove(*NAMES, LATE)
    until_template(plugins, original, within=1)
    until_rolled(plugins)


def _restart_plainly(plugins: Plugins, beating: str) -> tuple[float, float]:
    """Restart as a person does; tell the longest times without a replica, and without a beat.

    The restart's mark is taken away again, which is another restart.
    """
    with Heartbeat(plugins.api, beating) as heart, Host(plugins.api) as plain:
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        for restart in ("restart", "undo"):
            plugins.kubectl("rollout", restart, f"deployment/{CNPG}", *WHERE)
            until_rolled(plugins)
        wait.until("the Cluster is reconciled", heart.beating, within=MINUTE)
        return plain.longest_unavailable, heart.longest_pause()


def _until_told(plugins: Plugins, broken: Broken) -> None:
    def told() -> bool:
        found = plugins.condition(broken.name, broken.condition)
        return found.get("reason") in broken.reasons and broken.said in found["message"]

    wait.until(
        f"{broken.condition} of {broken.name} is one of {broken.reasons}: {broken.said}",
        told,
        within=3 * MINUTE,
        explain=lambda: plugins.explain(broken.name),
    )


def test_one_that_crashes_does_not_take_the_former_pod_with_it(
    plugins: Plugins, host: Host
) -> None:
    """Its pod is ready for a moment whenever it is up, and Kubernetes would end the other one."""
    crashing, original = BROKEN[0], template(plugins.api)
    plugins.apply(crashing.manifest)
    wait.until("it stands", lambda: host.rolls, within=MINUTE)
    wait.until("it was taken out", lambda: host.rolls > 1, within=MINUTE, pause=0.5)
    _until_told(plugins, crashing)
    until_rolled(plugins)
    until_template(plugins, original, within=1)
    assert host.rolls == 2
    assert host.longest_unavailable < SLACK * wait.PATIENCE


def test_one_that_cannot_be_started_is_soon_taken_out_where_nothing_else_serves(
    plugins: Plugins, host: Host
) -> None:
    name, original = "bad-command", template(plugins.api)
    with scaled_to_nothing(plugins):
        plugins.apply(sidecar(name, command=["/no-such-program"]))
        wait.until("it stands", lambda: template(plugins.api) != original, within=MINUTE)
    found = plugins.condition(name, "Available")
    assert found["reason"] == "CrashLoop"
    assert "/no-such-program" in found["message"]
    assert "It was taken out of Deployment" in found["message"]
    assert template(plugins.api) == original
    assert host.rolls == 1
    plugins.remove(name)
    assert host.rolls == 1


def test_an_operator_that_is_killed_around_a_roll_rolls_once(
    operator: Operator, plugins: Plugins, host: Host
) -> None:
    name = "killing"
    plugins.apply(sidecar(name))
    noted = "the operator has noted what it is about to do"
    wait.until(
        noted, lambda: "sidecar" in plugins.plugin(name).get("status", {}), within=10, pause=0.02
    )
    assert host.rolls == 0
    operator.kill()
    wait.until("it is done", lambda: host.rolls, within=MINUTE, pause=0.02)
    operator.kill()
    until_ready(plugins, name, within=2 * MINUTE)
    operator.writes_until_calm(operator.audit.mark())
    assert host.rolls == 1
