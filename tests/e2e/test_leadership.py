"""Two operators: whatever happens to the one that leads, no two write, and soon one leads again.

The API server's audit log is the witness: it names the pod of each request. What needs a request
that is late is tested without a cluster (`unit/decide`, `unit/watch`).
"""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.cluster.cgroups import signal_pod
from tests.cluster.network import inside
from tests.support import wait
from tests.support.e2e import moved_clock
from tests.support.e2e.api import Object
from tests.support.e2e.installation import OPERATOR_NAMESPACE, image_key, install_chart
from tests.support.e2e.operator import LEASE, WRITING, Operator, is_ready
from tests.support.e2e.plugins import Plugins
from tests.support.resources import behaviour, plugin
from tests.support.thorough import THOROUGH, rows

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.usefixtures("leaving_cnpg_as_found")]

NAME: Final = "led"
SECONDS: Final = 4
"""The lease duration."""
RETRY: Final = 0.5
ELECTION: Final = {
    "leaseDuration": f"{SECONDS}s",
    "renewDeadline": "2s",
    "retryPeriod": f"{RETRY}s",
}
HAND_OVER: Final = 2.0
HOUR: Final = 3600
POD: Final = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True)
class Write:
    """A write in the audit log that succeeded."""

    pod: str
    received: datetime
    done: datetime
    subject: str
    elects: bool
    """Whether it is about the Lease."""


class Two:
    """Two operators, and what they wrote."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.first = self.leader()
        self.since = operator.audit.mark()

    def pods(self) -> dict[str, Object]:
        return {pod["metadata"]["name"]: pod for pod in filter(is_ready, self.operator.pods())}

    def leader(self) -> str:
        """The pod that leads; empty if none does."""
        return self.operator.holder().partition("_")[0]

    def until_both_ready(self) -> str:
        """Wait for a leader and a standby, and name the leader."""

        def look() -> str:
            ready, name = self.pods(), self.leader()
            return name if len(ready) == 2 and name in ready else ""

        return wait.until(
            "one of two ready operators leads",
            look,
            within=90,
            explain=self.operator.log_tail,
        )

    def until_another_leads(self, than: str, within: float) -> str:
        def look() -> str:
            name = self.leader()
            return "" if name == than else name

        return wait.until(
            f"another operator than {than} leads",
            look,
            within=within,
            pause=0.02,
            explain=self.operator.log_tail,
        )

    def writes(self) -> list[Write]:
        """All of them, in the order in which they were done."""
        with self.operator.audit.log.open("rb") as log:
            log.seek(self.since)
            entries = [json.loads(line) for line in log if line.endswith(b"\n")]
        found = (
            _read(entry)
            for entry in entries
            if entry["user"]["username"] == self.operator.account
            and entry["verb"] in WRITING
            and entry["responseStatus"].get("code", 200) < 400
        )
        return sorted(found, key=lambda write: write.done)

    def check(self) -> None:
        """No pod wrote once another one had the Lease."""
        writes = self.writes()
        takes = [write for write in writes if write.elects]
        assert any(not write.elects for write in writes), "the operators had nothing to do"
        for write in writes:
            before = [self.first, *(take.pod for take in takes if take.done < write.received)]
            assert write.elects or before[-1] == write.pod, f"{write} after {before[-1]} led"


def _read(entry: dict[str, Any]) -> Write:
    target = entry.get("objectRef") or {}
    return Write(
        pod=entry["user"]["extra"][POD][0],
        received=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
        done=datetime.fromisoformat(entry["stageTimestamp"]),
        subject=f"{entry['verb']} {target.get('resource')}/{target.get('name')}",
        elects=target.get("resource") == "leases",
    )


@pytest.fixture(scope="module")
def two(operator: Operator) -> Iterator[Operator]:
    """The operator with a standby and a short Lease, which it creates."""
    operator.api.delete(LEASE)
    values: dict[str, object] = {"replicaCount": 2, "leaderElection": ELECTION}
    if THOROUGH:
        moved_clock.create_library(operator.api)
        values |= moved_clock.values()
    install_chart(operator.cluster, image_key(), **values)
    yield operator
    install_chart(operator.cluster, image_key())


@pytest.fixture(scope="module")
def plugins(two: Operator, module_plugins: Plugins) -> Plugins:
    """One plugin for all tests, which they change."""
    Two(two).until_both_ready()
    module_plugins.apply(plugin(NAME))
    module_plugins.until_ready(NAME)
    return module_plugins


@pytest.fixture
def both(two: Operator, plugins: Plugins) -> Two:
    """Two operators at work."""
    plugins.until_ready(NAME)
    found = Two(two)
    assert found.first == found.until_both_ready()
    return found


def change(plugins: Plugins, value: str) -> None:
    """Give the operators something to write."""
    plugins.patch(NAME, env=behaviour(NAME, UNUSED=value))


def until_applied(plugins: Plugins, value: str) -> None:
    def applied() -> bool:
        [container] = plugins.get("Deployment", NAME)["spec"]["template"]["spec"]["containers"]
        return {"name": "UNUSED", "value": value} in container["env"]

    wait.until(f"{value} is applied", applied, within=30, explain=lambda: plugins.explain(NAME))


def test_a_leader_that_is_asked_to_end_hands_over(both: Two, plugins: Plugins) -> None:
    leader = both.until_both_ready()
    where = ("--namespace", OPERATOR_NAMESPACE, "--wait=false")
    change(plugins, "handed-over")
    both.operator.cluster.kubectl("delete", "pod", leader, *where)
    both.until_another_leads(leader, within=HAND_OVER)
    until_applied(plugins, "handed-over")
    both.until_both_ready()
    both.check()


Disturbance = Callable[[Two, Object], Iterator[None]]
"""Disturbs the leading pod; goes on once another one leads, and restores it."""


def stop_briefly(both: Two, pod: Object) -> Iterator[None]:
    signal_pod(both.operator.cluster.layout, pod["metadata"]["uid"], signal.SIGSTOP)
    yield
    signal_pod(both.operator.cluster.layout, pod["metadata"]["uid"], signal.SIGCONT)


def stop_for_a_minute(both: Two, pod: Object) -> Iterator[None]:
    signal_pod(both.operator.cluster.layout, pod["metadata"]["uid"], signal.SIGSTOP)
    yield
    wait.until(
        "the other one has renewed the Lease for a minute",
        lambda: sum(each.elects for each in both.writes()) > 60 / RETRY,
        within=120,
    )
    signal_pod(both.operator.cluster.layout, pod["metadata"]["uid"], signal.SIGCONT)


def kill(both: Two, pod: Object) -> Iterator[None]:
    signal_pod(both.operator.cluster.layout, pod["metadata"]["uid"], signal.SIGKILL)
    flags = ("--namespace", OPERATOR_NAMESPACE, "--force", "--grace-period=0")
    both.operator.cluster.kubectl("delete", "pod", pod["metadata"]["name"], *flags)
    yield


def cut_off(both: Two, pod: Object) -> Iterator[None]:
    """No packet reaches the pod."""
    route = ("ip", "route"), ("blackhole", f"{pod['status']['podIP']}/32")
    layout = both.operator.cluster.layout
    subprocess.run(inside(layout, [*route[0], "add", *route[1]]), check=True)
    try:
        yield
    finally:
        subprocess.run(inside(layout, [*route[0], "del", *route[1]]), check=True)


def take_as_a_stranger(both: Two, _: Object) -> Iterator[None]:
    both.operator.api.patch(LEASE, {"spec": {"holderIdentity": "stranger"}})
    yield


def delete_the_lease(both: Two, pod: Object) -> Iterator[None]:
    """Its holder creates it again, and goes on."""
    both.operator.api.delete(LEASE)
    yield
    assert both.leader() == pod["metadata"]["name"]


def move_clock_ahead(both: Two, pod: Object) -> Iterator[None]:
    """Its holder goes on: how long a Lease lasts is measured with a clock that nothing moves."""
    move_clock(both, pod, HOUR)
    yield
    move_clock(both, pod, 0)


def move_clock_back(both: Two, pod: Object) -> Iterator[None]:
    """Meanwhile the plugin's certificates are not valid yet, and so its Deployment stays."""
    move_clock(both, pod, -HOUR)
    move_clock(both, pod, 0)
    yield


def move_clock(both: Two, pod: Object, seconds: int) -> None:
    """Let a pod's clock be so far ahead, and wait until it renews the Lease by that."""
    moved_clock.move(both.operator.cluster, pod["metadata"]["uid"], seconds)

    def look() -> bool:
        renewed = datetime.fromisoformat(both.operator.api.get(LEASE)["spec"]["renewTime"])
        return abs((renewed - datetime.now(UTC)).total_seconds() - seconds) < 60

    wait.until(f"the Lease is renewed by a clock of {seconds:+d} s", look, within=30)
    assert both.leader() == pod["metadata"]["name"]


DISTURBANCES: Final[tuple[Disturbance, ...]] = (
    stop_briefly,
    stop_for_a_minute,
    kill,
    cut_off,
    take_as_a_stranger,
    delete_the_lease,
    move_clock_ahead,
    move_clock_back,
)
_KEPT: Final = (delete_the_lease, move_clock_ahead, move_clock_back)
"""After these the leader goes on."""


@pytest.mark.parametrize("disturb", rows(DISTURBANCES, (stop_briefly,)))
def test_a_leader_that_fails_is_replaced_and_writes_nothing_more(
    both: Two, plugins: Plugins, disturb: Disturbance
) -> None:
    leader = both.until_both_ready()
    value = disturb.__name__
    change(plugins, f"{value}-before")
    disturbed = disturb(both, both.pods()[leader])
    next(disturbed)
    change(plugins, value)
    # After a stranger, both are equally fast.
    if disturb not in (take_as_a_stranger, *_KEPT):
        both.until_another_leads(leader, within=SECONDS + 5)
    until_applied(plugins, value)
    next(disturbed, None)
    both.until_both_ready()
    plugins.until_ready(NAME)
    both.check()
