"""kopf's part: it lists, watches and reconnects; every event goes to `Wakeups`. No domain logic.

The only handler is an `on.event`, which writes nothing to the objects. What it misses (kopf does
not report what was deleted while its watch was down) is found by a list of resources (`feeds`), or
by the next pass: `loops` runs one within a minute, and it reads the children again. When a watch
ends, all do; `supervision` begins again.

kopf watches the kinds of all handlers in the same namespaces, and offers no choice. But what it
watches is an argument, `Insights`. kopf fills it where it knows handlers, so it knows none while it
looks, and `Watches` fills it instead. There, a kind that is not called namespaced is watched in all
namespaces, and kopf starts and stops single watches when kinds come and go.
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
from cnpg_plugin_operator.telemetry import Readiness
from cnpg_plugin_operator.watch import kinds
from cnpg_plugin_operator.watch.session import Answers, build_session, build_settings
from cnpg_plugin_operator.watch.supervision import end, run_until_one_ends
from cnpg_plugin_operator.watch.wakeups import Wakeups

KINDS_INTERVAL: Final = 10.0
"""Seconds between two looks at which kinds are served: cert-manager and CloudNativePG come and go.
kopf would read all CustomResourceDefinitions for it: megabytes, and a right over the cluster."""

WATCH: Final = "watcher for "
"""How kopf names the tasks that watch."""


@dataclass(frozen=True, slots=True)
class Watches:
    """Everything that is watched, by an operator of kopf's."""

    wakeups: Wakeups
    namespaces: tuple[str, ...]
    read_plurals: kinds.ReadPlurals
    readiness: Readiness
    interrupted: asyncio.Event
    """Set whenever kopf's watch of resources may have missed something."""
    stop: asyncio.Event
    """Set by signals: kopf takes them to itself, and gives them back here."""

    async def run(self) -> NoReturn:
        """Watch. Raises `ClusterError` with what ended a watch, or why there is none yet."""
        served = await kinds.read_served(self.read_plurals)
        answers, insights, registry = (
            Answers(self.readiness, self.interrupted),
            Insights(),
            kopf.OperatorRegistry(),
        )
        settings, room = build_settings(), len(kinds.find_paths(kinds.ALL, self.namespaces))

        @kopf.on.login(registry=registry)
        async def login(**_: object) -> kopf.AiohttpSession | None:
            return build_session(settings, answers, room)

        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            insights=insights,
            standalone=True,
            # Only peering needs it; kopf's own guess asks for a user name, which a container lacks.
            identity=names.resource.OPERATOR,  # type: ignore[arg-type]  # a NewType of kopf's
            namespaces=self.namespaces,
        )
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, self.stop.set)
        choosing = self._choose(served, insights, registry, answers)
        for failure in await run_until_one_ends(choosing, beside=tasks):
            # kopf's errors have the whole answer beside their text.
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
        """Let kopf watch what is served. Raises `ClusterError` when the resource's kind is not."""
        await insights.ready_resources.wait()
        kopf.on.event(kopf.EVERYTHING, registry=registry, id="take")(self._take)
        try:
            while True:
                answers.expect(kinds.find_paths(served, self.namespaces))
                async with insights.revised:
                    insights.watched_resources.clear()
                    insights.watched_resources.update(map(_as_resource, served))
                    insights.revised.notify_all()
                await asyncio.sleep(KINDS_INTERVAL)
                # An API server that cannot be asked has not changed its kinds.
                with contextlib.suppress(errors.UnavailableError, errors.ForbiddenError):
                    served = await kinds.read_served(self.read_plurals)
        finally:
            # Where one watch fails, kopf leaves the others running. Its `run_tasks` would end them,
            # together with all tasks that are younger than kopf: passes under way.
            await end(each for each in asyncio.all_tasks() if each.get_name().startswith(WATCH))

    async def _take(self, event: kopf.RawEvent, resource: kopf.Resource, **_: object) -> None:
        kind = _KINDS[resource]
        self.wakeups.take(kind, event["object"], deleted=event["type"] == "DELETED")


def _as_resource(kind: Kind) -> kopf.Resource:
    group, _, version = kind.api_version.rpartition("/")
    return kopf.Resource(group, version, kind.plural, namespaced=kind not in kinds.EVERYWHERE)


_KINDS: Final = {_as_resource(kind): kind for kind in kinds.ALL}
