"""`run`: the operator process."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from asyncio import sslproto
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from cnpg_plugin_operator.cluster.apply import Writer
from cnpg_plugin_operator.cluster.client import RECURSION_LIMIT, Client
from cnpg_plugin_operator.cluster.cnpg_restart import Restarter
from cnpg_plugin_operator.cluster.fence import Fence
from cnpg_plugin_operator.cluster.lease import OperatorLease
from cnpg_plugin_operator.cluster.namespace import Namespaces
from cnpg_plugin_operator.cluster.removal import Remover
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.cluster.watched import WatchedClient
from cnpg_plugin_operator.cluster.write_guard import WriteGuard
from cnpg_plugin_operator.decide.leadership import Candidate
from cnpg_plugin_operator.endpoints.serving import serve
from cnpg_plugin_operator.errors import LeadershipLostError
from cnpg_plugin_operator.handshake.handshaker import PATIENCE, Handshaker
from cnpg_plugin_operator.reconcile.applying import ClusterApplier
from cnpg_plugin_operator.reconcile.environment import Environment
from cnpg_plugin_operator.reconcile.reconciler import Reconciler
from cnpg_plugin_operator.reconcile.workers import Slots
from cnpg_plugin_operator.settings import FLAGS, PREFIX, Settings, read_settings
from cnpg_plugin_operator.telemetry import Metrics, Readiness, configure_logging
from cnpg_plugin_operator.watch import signals
from cnpg_plugin_operator.watch.facts import FactStore
from cnpg_plugin_operator.watch.feeds import Feeds, count_followed
from cnpg_plugin_operator.watch.handlers import Watches
from cnpg_plugin_operator.watch.leadership import Elector
from cnpg_plugin_operator.watch.loops import WORKERS, Loops
from cnpg_plugin_operator.watch.objects import ObjectStore
from cnpg_plugin_operator.watch.observation import Observer
from cnpg_plugin_operator.watch.supervision import end, keep_watching, run_until_one_ends
from cnpg_plugin_operator.watch.wakeups import Wakeups

logger = logging.getLogger(__name__)

ENDING: Final = 10.0
"""Seconds that the work of a lost leadership has to end; it cannot write any more."""

TLS_BUFFER: Final = 16 * 1024
"""Bytes that asyncio keeps for each TLS connection: a record of TLS is no longer (RFC 8446, section
5.1). Its own 256 KiB take 5 MB more for twenty watches."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer each setting as a flag."""
    parser.description = "Run the operator. A flag wins over the environment variable beside it."
    for name, about in FLAGS.items():
        parser.add_argument(
            f"--{name.lower().replace('_', '-')}",
            dest=f"{PREFIX}{name}",
            metavar="VALUE",
            help=f"{about} ({PREFIX}{name})",
        )


def main(arguments: argparse.Namespace) -> int:
    """Run the operator; return the exit status. Raises `SettingsError`."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    flags = {
        name: value
        for name, value in vars(arguments).items()
        if name.startswith(PREFIX) and value is not None
    }
    settings = read_settings({**os.environ, **flags})
    try:
        asyncio.run(run(settings))
    except LeadershipLostError as error:
        logger.error("starts over as a standby: %s", error)  # noqa: TRY400 - it is no bug
        start_over()
    return 0


def start_over() -> None:
    """Replace this process by a new one of the same command.

    Nothing of the old one survives, as if it exited; but the kubelet would restart a container ever
    later, up to five minutes, and a single operator would be away for as long as that just because
    the API server was, now and then.
    """
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the same program and arguments


async def run(settings: Settings) -> None:
    """Run until the process is asked to stop.

    Raises `SettingsError` if no connection to the API server is configured, and
    `LeadershipLostError` once all work has ended because another process may lead.
    """
    configure_logging(settings.log_level, as_json=settings.log_format == "json")
    metrics, readiness, stop = Metrics(), Readiness(), asyncio.Event()
    observer = Observer(metrics, readiness)
    observing = asyncio.create_task(observer.run())
    try:
        async with serve(settings, metrics, readiness, observer.find_fault):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            if settings.lease is None:
                metrics.leader.set(1)
                await lead(settings, observer, stop, None)
            else:
                await take_part(settings, *settings.lease, observer, stop)
    finally:
        await end([observing])


async def take_part(
    settings: Settings, namespace: str, name: str, observer: Observer, stop: asyncio.Event
) -> None:
    """Lead while this process holds the Lease; until then it is a standby, and ready as such."""
    client = await Client.connect(settings.kubeconfig, connections=1, watches=1)
    client.measure = observer.metrics.requests.count
    identity = settings.lease_identity or f"{socket.gethostname()}_{uuid.uuid4()}"
    candidate = Candidate(identity, settings.lease_times)
    observer.readiness.gain()
    observer.readiness.is_standby = True
    elector = Elector(OperatorLease(client, namespace, name), candidate, observer.readiness)
    electing = asyncio.create_task(elector.run())
    following = asyncio.create_task(elector.follow())
    try:
        await _first(stop.wait(), elector.leading.wait(), beside=electing)
        if elector.leading.is_set():
            observer.metrics.leader.set(1)
            leading = lead(settings, observer, stop, elector.fence)
            await _first(leading, beside=electing)
    finally:
        observer.metrics.leader.set(0)
        await end([following])
        if not electing.done():
            await end([electing])
            await elector.release()
        await client.close()


async def _first(*work: Coroutine[Any, Any, Any], beside: asyncio.Task[str]) -> None:
    """Run until any of this work ends, and all of it has ended.

    Raises `LeadershipLostError` if the election ended first: then the process starts over even if
    some work does not end.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait([*tasks, beside], return_when=asyncio.FIRST_COMPLETED)
        if beside.done():
            logger.error("no longer leads: %s", beside.result())
            asyncio.get_running_loop().call_later(ENDING, start_over)
    finally:
        failures = await end(tasks)
    for failure in failures:
        if not isinstance(failure, LeadershipLostError):
            raise failure
    if beside.done():
        raise LeadershipLostError(beside.result())


async def lead(
    settings: Settings, observer: Observer, stop: asyncio.Event, fence: Fence | None
) -> None:
    """Do the work of the operator until the process is asked to stop.

    However this ends, all passes have ended by then.
    """
    metrics, readiness = observer.metrics, observer.readiness
    readiness.lose("not every watched kind has been listed yet")
    readiness.is_standby = False
    followed = count_followed(settings.scope) + signals.count(settings.namespaces)
    client = await WatchedClient.connect(settings.kubeconfig, watches=followed, fence=fence)
    client.measure = metrics.requests.count
    facts = FactStore()
    client.watched = objects = ObjectStore(facts)
    reader = ClusterReader(
        client, facts, settings.scope, utc_now, settings.grant_prefix, settings.operator_pods
    )
    slots = Slots(WORKERS)
    env = build_environment(settings, client, facts, reader, slots, metrics)
    reconciler = Reconciler(env)
    loops = Loops(
        reconciler.reconcile,
        metrics,
        slots=slots,
        is_managed=reader.manages,
        settled=facts.settled,
    )
    reconciler.wakes(loops.wake)
    for namespace in settings.namespaces:
        loops.wake((namespace,))
    wakeups = Wakeups(loops, facts, objects, settings.namespaces)
    feeds = Feeds(client, facts, objects, settings.scope, readiness)
    waking = signals.build_signals(client, settings.namespaces, readiness, wakeups.take_lease)
    following = (*feeds.running(), *(each.run() for each in waking))
    running = (loops.pick_up(reader.keys, lambda: not readiness.lack), *following)
    beside = [asyncio.create_task(each) for each in running]
    observer.observe(loops, (*feeds.watches, *waking))
    try:
        logger.info("started", extra={"namespaces": ",".join(settings.namespaces)})
        watches = Watches(wakeups, settings.scope, client.serves_now, readiness, feeds, stop)
        watching = keep_watching(watches.run, readiness, stop)
        for failure in await run_until_one_ends(watching, beside=beside):
            raise failure
        logger.info("stopped")
    finally:
        await end(beside)
        await loops.stop()
        await client.close()


def utc_now() -> datetime:
    """The clock of the process; decisions get the time as an argument."""
    return datetime.now(UTC)


def build_environment(
    settings: Settings,
    client: Client,
    facts: FactStore,
    reader: ClusterReader,
    slots: Slots,
    metrics: Metrics,
) -> Environment:
    """Build what passes work with."""
    guard = WriteGuard(lambda key: metrics.write_loops.labels(key[1], key[0]).inc())
    remover = Remover(client, reader, binds_cluster_roles=bool(settings.grants.cluster_roles))
    writer, restarter = Writer(client, facts, guard), Restarter(client)
    sidecars = Sidecars(client, reader, guard=guard)
    return Environment(
        reader=reader,
        applier=ClusterApplier(writer, remover, restarter, sidecars, utc_now, slots.aside),
        remover=remover,
        namespaces=Namespaces(client, reader, sidecars_allowed=settings.grants.sidecars),
        sidecars=sidecars,
        handshaker=Handshaker(PATIENCE),
        settings=settings,
        metrics=metrics,
        clock=utc_now,
        aside=slots.aside,
    )
