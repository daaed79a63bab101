"""kopf's part: events become wake-ups of one serial loop per resource. No domain logic.

Only `on.event` handlers are used: they write nothing to the resources, and what they miss (kopf
does not report what was deleted while its watch was down) is healed because every pass reads the
cluster anew and the resource's finalizer keeps it from vanishing unseen.

Two kopf operators share the event loop, because kopf watches all kinds of one operator in the same
namespaces: resources and Clusters are watched cluster-wide, children only where this program has
rights.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import kopf

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.observe import plugins_of
from cnpg_plugin_operator.reconciler import Requeue
from cnpg_plugin_operator.telemetry import Metrics

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a resource."""

BACKOFF_FIRST: Final = 1.0
"""Seconds after the first failed pass."""

BACKOFF_MOST: Final = 60.0
"""Seconds between failed passes at most."""

WORKERS: Final = 4
"""Passes that run at the same time: enough to overlap their waiting for the API server."""

SPARE_CONNECTIONS: Final = 3
"""Of a watching session, beside one for each watch: for lists and discovery."""

CHILD_KINDS: Final = (
    ("v1", "services"),
    ("v1", "secrets"),
    ("v1", "pods"),
)
"""Watched with a selector for this operator's own; Deployments are watched unfiltered, for one of
them is CloudNativePG's."""


class Loops:
    """One loop per resource: wakes coalesce, passes of one resource never overlap."""

    def __init__(
        self, reconcile: Callable[[str, str], Awaitable[Requeue]], metrics: Metrics
    ) -> None:
        self._reconcile = reconcile
        self._metrics = metrics
        self._loops: dict[Key, _Loop] = {}
        self._workers = asyncio.Semaphore(WORKERS)

    def wake(self, key: Key) -> None:
        """Run a pass of this resource soon; start its loop where there is none."""
        loop = self._loops.get(key)
        if loop is None:
            loop = self._loops[key] = _Loop()
            loop.task = asyncio.create_task(self._run(key, loop), name=f"loop {key}")
        loop.woken.set()

    def wake_where(self, matches: Callable[[Key, str], bool]) -> None:
        """Wake the known resources that a predicate over key and plugin name picks."""
        for key, loop in list(self._loops.items()):
            if matches(key, loop.plugin_name):
                loop.woken.set()

    def learn(self, key: Key, plugin_name: str) -> None:
        """Note the plugin name of a resource, so that Clusters that name it wake it."""
        loop = self._loops.get(key)
        if loop is not None:
            loop.plugin_name = plugin_name

    async def stop(self) -> None:
        """End all loops; passes under way are cut off, which any pass can stand."""
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, loop: "_Loop") -> None:
        failures = 0
        while True:
            await loop.woken.wait()
            async with self._workers:
                loop.woken.clear()
                pause = await self._pass(key, failures)
            failures = failures + 1 if pause.failed else 0
            if pause.after is None and not loop.woken.is_set():
                del self._loops[key]
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.woken.wait(), pause.after)
            loop.woken.set()

    async def _pass(self, key: Key, failures: int) -> "_Pause":
        controller = names.PLURAL
        with self._metrics.reconcile_seconds.labels(controller).time():
            result, pause = await self._guarded(key, failures)
        self._metrics.reconciles.labels(controller, result).inc()
        return pause

    async def _guarded(self, key: Key, failures: int) -> tuple[str, "_Pause"]:
        reference = {"namespace": key[0], "plugin": key[1]}
        try:
            requeue = await self._reconcile(*key)
        except errors.ClusterError as error:
            logger.warning("the pass is repeated: %s", error, extra=reference)
        except Exception:
            # Whatever a resource holds, only its own loop may suffer from it.
            logger.exception("the pass failed unexpectedly and is repeated", extra=reference)
        else:
            return "success", _Pause(requeue.after)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, protects nothing
        after = min(BACKOFF_FIRST * 2 ** min(failures, 16), BACKOFF_MOST) * jitter
        return "error", _Pause(after, failed=True)


@dataclass(slots=True)
class _Loop:
    """The state of one resource's loop."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    plugin_name: str = ""


@dataclass(frozen=True, slots=True)
class _Pause:
    """How long a loop rests."""

    after: float | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Watches:
    """kopf's operators, ready to be run."""

    loops: Loops
    namespaces: tuple[str, ...]

    async def run(self, stop: asyncio.Event, ready: asyncio.Event) -> None:
        """Watch until `stop` is set, or until one of the operators ends by itself.

        Raises `ClusterError` with what ended it, for one a missing right: the process should end.
        """
        started = [asyncio.Event(), asyncio.Event()]
        operators = [
            asyncio.create_task(self._operate(self._wide(), stop, started[0], None)),
            asyncio.create_task(self._operate(self._narrow(), stop, started[1], self.namespaces)),
        ]
        announcing = asyncio.create_task(_announce(started, ready))
        try:
            await asyncio.wait(operators, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            announcing.cancel()
            ended = await asyncio.gather(*operators, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise errors.ClusterError(f"the watches ended: {outcome}") from outcome

    async def _operate(
        self,
        registry: kopf.OperatorRegistry,
        stop: asyncio.Event,
        started: asyncio.Event,
        namespaces: tuple[str, ...] | None,
    ) -> None:
        await kopf.operator(
            registry=registry,
            settings=_settings(scanning=namespaces is None),
            standalone=True,
            # Only peering needs it; kopf's own guess asks for a user name, which a container has
            # not.
            identity=names.OPERATOR,  # type: ignore[arg-type]  # a NewType kopf does not export
            clusterwide=namespaces is None,
            namespaces=namespaces or (),
            stop_flag=stop,
            ready_flag=started,
        )

    def _wide(self) -> kopf.OperatorRegistry:
        """Resources and Clusters of all namespaces; kopf itself watches for kinds that appear."""
        registry = kopf.OperatorRegistry()
        _login(registry, watches=3)

        @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
        async def resource_changed(body: kopf.Body, **_: object) -> None:
            key = (body["metadata"]["namespace"], body["metadata"]["name"])
            self.loops.wake(key)
            self.loops.learn(key, str((body.get("spec") or {}).get("pluginName", "")))

        @kopf.on.event(names.CNPG_GROUP, "v1", "clusters", registry=registry)
        async def cluster_changed(body: kopf.Body, **_: object) -> None:
            used = plugins_of(body.get("spec") or {})
            self.loops.wake_where(lambda _, plugin: plugin in used)

        return registry

    def _narrow(self) -> kopf.OperatorRegistry:
        """Children, and CloudNativePG's Deployment, of the managed namespaces."""
        registry = kopf.OperatorRegistry()
        _login(registry, watches=(len(CHILD_KINDS) + 1) * len(self.namespaces))

        async def child_changed(body: kopf.Body, **_: object) -> None:
            metadata = body["metadata"]
            labels = metadata.get("labels") or {}
            namespace = metadata.get("namespace", "")
            if labels.get(names.LABEL_NAME) == names.CNPG_APP:
                self.loops.wake_where(lambda key, _: key[0] == namespace)
            elif labels.get(names.LABEL_PLUGIN):
                owner = (namespace, labels[names.LABEL_PLUGIN])
                self.loops.wake_where(lambda key, _: key == owner)

        for version, plural in (*CHILD_KINDS, ("apps/v1", "deployments")):
            group, _, name = version.rpartition("/")
            kopf.on.event(group, name, plural, registry=registry, id=f"{plural}_changed")(
                child_changed
            )
        return registry


def _login(registry: kopf.OperatorRegistry, watches: int) -> None:
    """Connect as the pod's account, else as the kubeconfig says.

    kopf's own session opens as many connections as it has requests, and discovery sends dozens at
    once; each TLS connection keeps 350 KB. So the session is given, with room for its watches.
    """

    @kopf.on.login(registry=registry)
    async def login(settings: kopf.OperatorSettings, **_: object) -> kopf.AiohttpSession | None:
        found = kopf.login_with_service_account(settings=settings)
        found = found or kopf.login_with_kubeconfig(settings=settings)
        if found is None:
            return None
        context = found.as_ssl_context()
        # The CAs of EKS and MicroK8s have no key identifiers; only Python since 3.13 minds.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=watches + SPARE_CONNECTIONS, ssl=context),
            headers=found.as_http_headers(),
        )
        return kopf.AiohttpSession(server=found.server, aiohttp_session=session)


async def _announce(started: list[asyncio.Event], ready: asyncio.Event) -> None:
    for event in started:
        await event.wait()
    ready.set()


def _settings(*, scanning: bool) -> kopf.OperatorSettings:
    """Write nothing, filter on the server; scan for kinds that are installed later where asked."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = not scanning
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.process.ultimate_exiting_timeout = None
    own = f"{names.LABEL_MANAGED_BY}={names.OPERATOR}"
    for version, plural in CHILD_KINDS:
        settings.watching.label_selectors[version, plural] = own
    return settings
