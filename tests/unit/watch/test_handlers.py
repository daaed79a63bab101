"""The watches with the real kopf: what it watches, and that no answer ends the process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.kinds import CERTIFICATE, ISSUER, PLUGIN, POD, SECRET, Kind
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.reconcile.shared import Key
from cnpg_plugin_operator.reconcile.stages import Requeue
from cnpg_plugin_operator.telemetry import Metrics, Readiness
from cnpg_plugin_operator.watch import handlers, session, supervision
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.handlers import Watches
from cnpg_plugin_operator.watch.kinds import EVERYWHERE, MANAGED, OPTIONAL, OWN
from cnpg_plugin_operator.watch.loops import Loops
from cnpg_plugin_operator.watch.objects import ObjectStore
from cnpg_plugin_operator.watch.supervision import keep_watching
from cnpg_plugin_operator.watch.wakeups import Wakeups
from tests.support.unit.watched_api import KUBECONFIG, WatchedAPI

NAMESPACES = ("cnpg-system", "second")
SCOPE = Scope(NAMESPACES)
SECRETS = SECRET.path(NAMESPACES[0])
OPTIONAL_CHILDREN = {kind.path(place) for kind in (CERTIFICATE, ISSUER) for place in NAMESPACES}
WATCHED = {kind.path() for kind in EVERYWHERE} | {
    kind.path(place) for kind in MANAGED for place in NAMESPACES
}


class FakeFeeds:
    """Records what kopf's watches may have missed."""

    def __init__(self) -> None:
        self.begun_paths: list[str] = []
        self.changes: list[frozenset[Kind]] = []
        self.endings = 0

    def begun(self, path: str) -> None:
        self.begun_paths.append(path)

    def changed(self, kinds: frozenset[Kind]) -> None:
        self.changes.append(kinds)

    def ended(self) -> None:
        self.endings += 1


class Running:
    """Watches against an API server, and what /readyz would report about them."""

    def __init__(self, api: WatchedAPI, scope: Scope = SCOPE) -> None:
        self.api, self.scope = api, scope
        self.stop = asyncio.Event()
        self.readiness = Readiness()
        self.absent: set[str] = set()
        """Plurals of kinds that are not served."""
        self.failure: errors.ClusterError | None = None
        """The error of discovery."""
        self.begun: list[Key] = []
        self.passes: list[Key] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.loops = Loops(self._reconcile, Metrics())
        self.feeds = FakeFeeds()
        feeds: Any = self.feeds
        watches = Watches(
            Wakeups(self.loops, facts := FactStore(), ObjectStore(facts), NAMESPACES),
            self.scope,
            self._read_plurals,
            self.readiness,
            feeds,
            self.stop,
        )
        self.task = asyncio.create_task(keep_watching(watches.run, self.readiness, self.stop))

    async def _reconcile(self, key: Key) -> Requeue:
        self.begun.append(key)
        await self.slow.wait()
        self.passes.append(key)
        return Requeue(600.0)

    async def _read_plurals(self, group: str) -> frozenset[str]:
        if self.failure:
            raise self.failure
        served = {kind.plural for kind in OPTIONAL if kind.api_version == group}
        return frozenset(served - self.absent)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert not self.task.done()
                await asyncio.sleep(0.005)

    async def until_lacking(self, lack: str) -> None:
        await self.until(lambda: lack in self.readiness.lack)

    async def until_ready(self) -> None:
        await self.until(lambda: not self.readiness.lack)


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WatchedAPI]:
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(handlers, "KINDS_INTERVAL", 0.01)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    served = WatchedAPI()
    async with served.serve("/k8s/clusters/one") as server:
        (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(server=server))
        yield served


async def started(api: WatchedAPI, scope: Scope = SCOPE) -> AsyncIterator[Running]:
    """Run watches until the end of a test."""
    subject = Running(api, scope)
    yield subject
    subject.stop.set()
    async with asyncio.timeout(10):
        await subject.task
        await subject.loops.stop()


@pytest.fixture
async def running(api: WatchedAPI) -> AsyncIterator[Running]:
    async for subject in started(api):
        yield subject


def plugin(name: str) -> dict[str, Any]:
    metadata = {"namespace": "anywhere", "name": name, "uid": name, "resourceVersion": "2"}
    return {"apiVersion": PLUGIN.api_version, "kind": PLUGIN.kind, "metadata": metadata}


async def test_children_are_watched_only_in_the_managed_namespaces(running: Running) -> None:
    await running.until_ready()

    assert running.api.watched == WATCHED
    assert sorted(running.api.listed) == sorted(WATCHED)


async def test_without_cluster_wide_rights_resources_are_watched_there_only(
    api: WatchedAPI,
) -> None:
    async for narrow in started(api, Scope(NAMESPACES, ("app",))):
        await narrow.until_ready()
        places = {PLUGIN.path(place) for place in NAMESPACES}
        assert narrow.api.watched == (WATCHED - {PLUGIN.path()}) | places


async def test_kinds_that_only_this_operator_creates_are_selected_by_label(
    running: Running,
) -> None:
    await running.until_ready()

    own = {kind.path(place) for kind in OWN for place in NAMESPACES}
    selected = {path for path, selector in running.api.selectors.items() if selector}
    assert selected == own
    assert running.api.selectors[POD.path("second")] == f"{names.labels.MANAGED_BY}=" + (
        names.resource.OPERATOR
    )


async def test_resources_of_all_namespaces_are_woken_by_their_events(running: Running) -> None:
    running.api.objects[PLUGIN.path()] = [plugin("listed")]
    await running.until(lambda: running.passes == [("anywhere", "listed")])
    await running.until_ready()
    running.api.send(PLUGIN.path(), "ADDED", plugin("created"))
    await running.until(lambda: running.passes[1:] == [("anywhere", "created")])


async def test_what_is_watched_is_listed_whenever_its_watch_begins(running: Running) -> None:
    await running.until_ready()
    assert set(running.feeds.begun_paths) == WATCHED
    running.feeds.begun_paths.clear()
    expired = {"kind": "Status", "code": 410, "message": "too old"}
    running.api.send(SECRETS, "ERROR", expired)
    await running.until(lambda: running.feeds.begun_paths == [SECRETS])
    assert running.feeds.endings == 0


async def test_nothing_is_watched_until_the_crd_is_installed(running: Running) -> None:
    running.failure = errors.UnavailableError("get API group: connection refused")
    await running.until_lacking("connection refused")
    running.absent = {PLUGIN.plural}
    running.failure = None
    await running.until_lacking("CustomResourceDefinition cnpgplugins is not installed")
    assert running.api.listed == []
    running.absent = set()
    await running.until_ready()


async def test_added_and_removed_kinds_do_not_restart_other_watches(running: Running) -> None:
    running.absent = {CERTIFICATE.plural, ISSUER.plural}
    await running.until_ready()
    assert running.api.watched == WATCHED - OPTIONAL_CHILDREN

    running.absent = set()
    await running.until(lambda: running.api.watched == WATCHED)
    await running.until_ready()
    running.failure = errors.UnavailableError("the API server restarts")
    running.absent = {ISSUER.plural}
    assert running.api.watched == WATCHED
    running.failure = None
    issuers = {ISSUER.path(place) for place in NAMESPACES}
    await running.until(lambda: running.api.watched == WATCHED - issuers)
    assert running.feeds.changes == [{CERTIFICATE, ISSUER}, {ISSUER}]

    assert sorted(running.api.listed) == sorted(WATCHED)


async def test_readyz_reports_that_the_crd_disappeared(running: Running) -> None:
    await running.until_ready()
    running.absent = {PLUGIN.plural}
    await running.until_lacking("CustomResourceDefinition cnpgplugins is not installed")
    running.absent = set()
    await running.until_ready()


async def test_a_missing_right_is_reported_at_once_and_may_be_granted_later(
    api: WatchedAPI, caplog: pytest.LogCaptureFixture
) -> None:
    api.refused[SECRETS] = 403
    async for running in started(api):
        await running.until_lacking(f"not watched: {SECRETS} (HTTP 403)")
        await running.until(lambda: api.watched == WATCHED - {SECRETS})
        del api.refused[SECRETS]
        await running.until_ready()
    reported = [line.levelname for line in caplog.records if line.name == session.__name__]
    assert reported == ["WARNING"]


async def test_watches_begin_though_the_api_server_does_not_know_its_first_group_yet(
    api: WatchedAPI,
) -> None:
    api.refused["/api/v1"] = 404
    async for running in started(api):
        await running.until_ready()
        assert api.watched == WATCHED


async def test_an_ended_watch_restarts_without_interrupting_a_pass(running: Running) -> None:
    running.slow.clear()
    running.api.objects[PLUGIN.path()] = [plugin("slow")]
    await running.until(lambda: bool(running.begun))
    await running.until_ready()
    running.api.refused[SECRETS] = 404
    gone = {"kind": "Status", "code": 500, "message": "etcd is away"}
    running.api.send(SECRETS, "ERROR", gone)
    await running.until_lacking(f"{SECRETS} is refused")
    running.api.refused.clear()
    await running.until_ready()
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith(handlers.WATCH)]
    assert len(left) == len(WATCHED), "kopf's tasks of before are still there"
    assert running.begun == [("anywhere", "slow")]
    running.slow.set()
    await running.until(lambda: running.passes[:1] == running.begun[:1])


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_still_ends_the_process_while_kopf_runs(
    running: Running, sent: signal.Signals
) -> None:
    await running.until_ready()
    os.kill(os.getpid(), sent)
    async with asyncio.timeout(10):
        await running.task
    assert running.stop.is_set()


async def test_a_signal_ends_the_process_while_it_waits_to_watch_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running.until_ready()
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 600.0)
    running.api.send(SECRETS, "ERROR", {"kind": "Status", "code": 500, "message": "etcd is away"})
    await running.until_lacking("etcd is away")
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await running.task
