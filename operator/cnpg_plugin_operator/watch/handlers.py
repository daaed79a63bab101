"""kopf's part: it lists, watches and reconnects, and passes every event to `Wakeups`.

The only handler is an `on.event`, which writes nothing to the objects. What it misses (kopf does
not report what was deleted while its watch was down) is found by a list (`feeds`). When a watch
ends, all do; `supervision` begins again.

kopf watches the kinds of all handlers in the same namespaces, without an option to change that. But
the watched kinds are an argument, `Insights`. kopf fills it only if it knows handlers, so none is
registered during its discovery, and `Watches` fills it instead. There, a kind that is not marked as
namespaced is watched in all namespaces, and kopf starts and stops single watches when kinds appear
and disappear.
"""

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import Final, NoReturn

import kopf

# The type of an argument of `spawn_tasks`, which kopf does not export.
from kopf._cogs.structs.references import Insights

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch import kinds
from cnpg_plugin_operator.watch.feeds import Feeds
from cnpg_plugin_operator.watch.session import Answers, build_session, build_settings
from cnpg_plugin_operator.watch.supervision import end, run_until_one_ends
from cnpg_plugin_operator.watch.wakeups import Wakeups

KINDS_INTERVAL: Final = 10.0
"""Seconds between two checks of the served kinds: cert-manager and CloudNativePG may be installed
or removed. kopf would read all CustomResourceDefinitions for it: megabytes, and a cluster-wide
right."""

WATCH: Final = "watcher for "
"""Prefix of the names of kopf's tasks that watch."""


@dataclass(frozen=True, slots=True)
class Watches:
    """All watches, run by a kopf operator."""

    wakeups: Wakeups
    scope: Scope
    read_plurals: kinds.ReadPlurals
    readiness: Readiness
    feeds: Feeds
    """They correct what kopf's watches may have missed."""
    stop: asyncio.Event
    """Set by signals, which kopf handles and passes on through this event."""

    async def run(self) -> NoReturn:
        """Watch. Raises `ClusterError` with the reason why a watch ended or could not start."""
        served = await kinds.read_served(self.read_plurals)
        answers, insights, registry = (
            Answers(self.readiness, self.feeds.begun),
            Insights(),
            kopf.OperatorRegistry(),
        )
        settings, room = build_settings(), len(kinds.find_paths(kinds.ALL, self.scope))

        @kopf.on.login(registry=registry)
        async def login(**_: object) -> kopf.AiohttpSession | None:
            return build_session(settings, answers, room)

        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            insights=insights,
            standalone=True,
            # Only peering needs it; kopf's default needs a user name, which a container lacks.
            identity=names.resource.OPERATOR,  # type: ignore[arg-type]  # a NewType of kopf's
            namespaces=self.scope.namespaces,
        )
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, self.stop.set)
        choosing = self._choose(served, insights, registry, answers)
        for failure in await run_until_one_ends(choosing, beside=tasks):
            # The arguments of kopf's errors contain the whole response; only the text is used.
            why = next((each for each in failure.args if isinstance(each, str)), repr(failure))
            raise errors.ClusterError(f"the watches ended: {why}") from failure
        raise errors.ClusterError("the watches ended")

    async def _choose(
        self,
        served: frozenset[Kind],
        insights: Insights,
        registry: kopf.OperatorRegistry,
        answers: Answers,
    ) -> NoReturn:
        """Let kopf watch the served kinds. Raises `ClusterError` if the CRD is not installed."""
        await insights.ready_resources.wait()
        kopf.on.event(kopf.EVERYTHING, registry=registry, id="take")(self._take)
        try:
            while True:
                answers.expect(kinds.find_paths(served, self.scope))
                async with insights.revised:
                    # Where the API server, just started, does not find /api/v1, kopf does not know
                    # what a namespace is, and waits for ever.
                    insights.namespaces.update(self.scope.namespaces)  # type: ignore[arg-type]
                    insights.watched_resources.clear()
                    insights.watched_resources.update(map(self._as_resource, served))
                    insights.revised.notify_all()
                await asyncio.sleep(KINDS_INTERVAL)
                # If the API server does not answer, the known kinds remain.
                with contextlib.suppress(errors.UnavailableError, errors.ForbiddenError):
                    before, served = served, await kinds.read_served(self.read_plurals)
                    if before != served:
                        self.feeds.changed(before ^ served)
                        self.wakeups.wake_all()
        finally:
            # If one watch fails, kopf leaves the others running. Its `run_tasks` would end them,
            # together with all tasks that are younger than kopf, such as running passes.
            self.feeds.ended()
            await end(each for each in asyncio.all_tasks() if each.get_name().startswith(WATCH))

    async def _take(self, event: kopf.RawEvent, resource: kopf.Resource, **_: object) -> None:
        kind = _KINDS[resource.group, resource.version, resource.plural]
        self.wakeups.take(kind, event["object"], deleted=event["type"] == "DELETED")

    def _as_resource(self, kind: Kind) -> kopf.Resource:
        everywhere = kind in kinds.EVERYWHERE and self.scope.is_wide
        return kopf.Resource(*_key(kind), namespaced=not everywhere)


def _key(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural


_KINDS: Final = {_key(kind): kind for kind in kinds.ALL}
