"""kopf's part: events become wake-ups of one serial loop per resource. No domain logic.

Only `on.event` handlers are used: they write nothing to the resources, and what they miss (kopf
does not report what was deleted while its watch was down) is found by the next pass, which `loops`
runs within a minute and which reads the cluster again.

Nothing that the API server answers ends the process: it is asked again, ever more seldom. Passes go
on meanwhile, and /readyz says what the watches lack, be it a right.

Two kopf operators share the event loop, because kopf watches all kinds of one operator in the same
namespaces: resources and Clusters are watched cluster-wide, children only where this program has
rights.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import kopf

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.clusters import plugins_of
from cnpg_plugin_operator.cluster.cnpg import looks_like_cnpg
from cnpg_plugin_operator.cluster.private_secrets import bound, named_in
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch.loops import Loops

logger = logging.getLogger(__name__)

SPARE_CONNECTIONS: Final = 3
"""Of a watching session, beside one for each watch: for lists and discovery."""

KINDS_INTERVAL: Final = 10.0
"""Seconds between two looks at which kinds are served: cert-manager and CloudNativePG come and
go."""

LASTING: Final = 60.0
"""Seconds after which watches that end did work: the next failure counts as the first."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries to watch at most."""

Kind = tuple[str, str]
"""API group with version, and plural."""

RESOURCE: Final = (names.resource.API_VERSION, names.resource.PLURAL)
CLUSTERS: Final = (f"{names.cnpg.GROUP}/v1", "clusters")
DEPLOYMENTS: Final = ("apps/v1", "deployments")
"""Watched without a selector: one of them is CloudNativePG's."""

SECRETS: Final = ("v1", "secrets")
"""Watched without a selector: users bring some of their own."""

SERVICES: Final = ("v1", "services")
"""Watched without a selector: another one may take a plugin's name."""

OPTIONAL_CHILDREN: Final = (
    ("cert-manager.io/v1", "certificates"),
    ("cert-manager.io/v1", "issuers"),
)
"""Children of kinds that may not be there."""

CHILDREN: Final = (
    ("v1", "pods"),
    ("v1", "serviceaccounts"),
    ("rbac.authorization.k8s.io/v1", "rolebindings"),
    *OPTIONAL_CHILDREN,
)
"""Watched with a selector for this operator's own."""

OPTIONAL: Final = frozenset({RESOURCE, CLUSTERS, *OPTIONAL_CHILDREN})
"""Watched while they are served; everything else is served by every API server."""


@dataclass(frozen=True, slots=True)
class Watches:
    """Everything that is watched."""

    loops: Loops
    namespaces: tuple[str, ...]
    served: Callable[[str], Awaitable[frozenset[str]]]
    """Tells which kinds of an API group are served, by their plurals."""

    async def run(self, stop: asyncio.Event, readiness: Readiness) -> None:
        """Watch until `stop` is set; begin again whenever kinds appear or vanish, or a watch ends.

        kopf could notice kinds itself, but reads all CustomResourceDefinitions for it: megabytes,
        and rights over the whole cluster.
        """
        failures, clock = 0, asyncio.get_running_loop().time
        while not stop.is_set():
            began = clock()
            try:
                await self._watch_present(stop, readiness)
                failures = 0
            except errors.ClusterError as error:
                failures = 0 if clock() - began > LASTING else failures + 1
                pause = min(2.0 ** min(failures, 16), LONGEST_PAUSE)
                readiness.lose(str(error))
                logger.error("the watches begin again in %.0f s: %s", pause, error)  # noqa: TRY400
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)

    async def _watch_present(self, stop: asyncio.Event, readiness: Readiness) -> None:
        """Watch what is served now, until that changes or `stop` is set.

        Raises `ClusterError` with what ended a watch.
        """
        present = await self._present()
        changed = asyncio.Event()
        noticing = asyncio.create_task(self._notice(present, stop, changed))
        try:
            if RESOURCE in present:
                await self._watch(present, stop, changed, readiness)
            else:
                readiness.lose(f"CustomResourceDefinition {names.resource.PLURAL} is not installed")
                logger.warning("waiting for CustomResourceDefinition %s", names.resource.PLURAL)
                await changed.wait()
        finally:
            changed.set()
            await noticing

    async def _present(self) -> frozenset[Kind]:
        """Name the optional kinds that are served now."""
        groups = sorted({group for group, _ in OPTIONAL})
        found = await asyncio.gather(*(self.served(group) for group in groups))
        plurals = dict(zip(groups, found, strict=True))
        return frozenset(kind for kind in OPTIONAL if kind[1] in plurals[kind[0]])

    async def _notice(
        self, known: frozenset[Kind], stop: asyncio.Event, changed: asyncio.Event
    ) -> None:
        """Set `changed` as soon as other kinds are served, or `stop` is set."""
        while not changed.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (stop, changed)]
            _, pending = await asyncio.wait(
                waits, timeout=KINDS_INTERVAL, return_when=asyncio.FIRST_COMPLETED
            )
            for wait in pending:
                wait.cancel()
            # An API server that cannot be asked has not changed its kinds.
            with contextlib.suppress(errors.ClusterError):
                if stop.is_set() or await self._present() != known:
                    changed.set()

    async def _watch(
        self,
        present: frozenset[Kind],
        stop: asyncio.Event,
        changed: asyncio.Event,
        readiness: Readiness,
    ) -> None:
        started = [asyncio.Event(), asyncio.Event()]
        operators = [
            asyncio.create_task(_operate(self._wide(present), changed, started[0], ())),
            asyncio.create_task(
                _operate(self._narrow(present), changed, started[1], self.namespaces)
            ),
        ]
        announcing = asyncio.create_task(_announce(started, readiness))
        try:
            done, _ = await asyncio.wait(operators, return_when=asyncio.FIRST_COMPLETED)
            if not changed.is_set() and not any(task.exception() for task in done):
                # kopf takes signals to itself, and only one of its operators sees them.
                stop.set()
        finally:
            changed.set()
            announcing.cancel()
            ended = await asyncio.gather(*operators, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise errors.ClusterError(f"the watches ended: {outcome}") from outcome

    def _wide(self, present: frozenset[Kind]) -> kopf.OperatorRegistry:
        """Resources and Clusters of all namespaces."""
        registry = kopf.OperatorRegistry()
        _login(registry, watches=2)

        async def resource_changed(body: kopf.Body, **_: object) -> None:
            key = (body["metadata"]["namespace"], body["metadata"]["name"])
            self.loops.wake(key)
            self.loops.learn(key, marks_of(body.get("spec") or {}))

        async def cluster_changed(body: kopf.Body, **_: object) -> None:
            used = {plugin_mark(name) for name in plugins_of(body.get("spec") or {})}
            self.loops.wake_where(lambda _, marks: not used.isdisjoint(marks))

        _subscribe(registry, RESOURCE, resource_changed)
        if CLUSTERS in present:
            _subscribe(registry, CLUSTERS, cluster_changed)
        return registry

    def _narrow(self, present: frozenset[Kind]) -> kopf.OperatorRegistry:
        """Children, and CloudNativePG's Deployment, of the managed namespaces."""
        registry = kopf.OperatorRegistry()
        absent = OPTIONAL - present
        children = [
            kind for kind in (DEPLOYMENTS, SECRETS, SERVICES, *CHILDREN) if kind not in absent
        ]
        _login(registry, watches=len(children) * len(self.namespaces))

        provided: dict[str, str] = {}

        async def child_changed(body: kopf.Body, **_: object) -> None:
            metadata = body["metadata"]
            if body["kind"] == "Service":
                self._wake_named(metadata, provided)
            labels = metadata.get("labels") or {}
            namespace = metadata.get("namespace", "")
            if looks_like_cnpg(body) or names.labels.CHAIN in labels:
                self.loops.wake_where(lambda key, _: key[0] == namespace)
            elif owners := owners_of(metadata):
                self.loops.wake_where(lambda key, _: key[0] == namespace and key[1] in owners)
            elif body["kind"] == "Secret":
                used = secret_mark(metadata["name"])
                self.loops.wake_where(lambda key, marks: key[0] == namespace and used in marks)

        for kind in children:
            _subscribe(registry, kind, child_changed)
        return registry

    def _wake_named(self, metadata: Mapping[str, Any], provided: dict[str, str]) -> None:
        """Wake whom a Service provides a plugin for, or did; `provided` is what each one did."""
        uid, namespace = metadata["uid"], metadata.get("namespace", "")
        name = str((metadata.get("labels") or {}).get(names.cnpg.PLUGIN_NAME) or "")
        marks = {plugin_mark(each) for each in (name, provided.pop(uid, "")) if each}
        if name and not metadata.get("deletionTimestamp"):
            provided[uid] = name
        if marks:
            self.loops.wake_where(
                lambda key, known: key[0] == namespace and not marks.isdisjoint(known)
            )


def owners_of(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Name the resources that an object may belong to: one of its marks may have been removed."""
    label = (metadata.get("labels") or {}).get(names.labels.PLUGIN)
    references = metadata.get("ownerReferences") or []
    owners = {ref.get("name") for ref in references if ref.get("kind") == names.resource.KIND}
    return frozenset(str(name) for name in (label, *owners) if name)


def plugin_mark(name: str) -> str:
    """How a resource is found again by the plugin it provides."""
    return f"plugin/{name}"


def secret_mark(name: str) -> str:
    """How a resource is found again by a Secret that it names."""
    return f"secret/{name}"


def marks_of(spec: Mapping[str, Any]) -> frozenset[str]:
    """Give what a resource is to be found again by; its spec may hold anything."""
    plugin = plugin_mark(str(spec.get("pluginName", "")))
    return frozenset([plugin, *map(secret_mark, bound(named_in(spec)))])


def _subscribe(
    registry: kopf.OperatorRegistry,
    kind: Kind,
    handler: Callable[..., Awaitable[None]],
) -> None:
    """Let a handler hear of every event of a kind."""
    group, _, version = kind[0].rpartition("/")
    kopf.on.event(group, version, kind[1], registry=registry, id=kind[1])(handler)


async def _operate(
    registry: kopf.OperatorRegistry,
    stop: asyncio.Event,
    started: asyncio.Event,
    namespaces: tuple[str, ...],
) -> None:
    """Run one of kopf's operators; without namespaces it watches all of them."""
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_settings(),
        standalone=True,
        # Only peering needs it; kopf's own guess asks for a user name, which a container has not.
        identity=names.resource.OPERATOR,  # type: ignore[arg-type]  # a NewType kopf does not export
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        ready_flag=started,
    )
    await kopf.run_tasks(tasks, ignored=_Everything())


class _Everything(frozenset[asyncio.Task[Any]]):
    """A set that holds every task.

    At its end, kopf would cancel all tasks of the event loop that are younger than itself: passes
    under way, and its other operator. What it is told to ignore, it leaves alone.
    """

    def __contains__(self, _: object) -> bool:
        return True


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


async def _announce(started: list[asyncio.Event], readiness: Readiness) -> None:
    for event in started:
        await event.wait()
    readiness.gain()


def _settings() -> kopf.OperatorSettings:
    """Write nothing, filter on the server, leave the noticing of new kinds to `Watches`."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 30
    settings.queueing.exit_timeout = 0.5
    own = f"{names.labels.MANAGED_BY}={names.resource.OPERATOR}"
    for api_version, plural in CHILDREN:
        group, _, version = api_version.rpartition("/")
        settings.watching.label_selectors[group, version, plural] = own
    return settings
