"""Keeps the watches running, whatever ends them. No kopf, and nothing of what is watched.

Nothing that the API server answers ends the process: the watches begin again, ever more seldom.
Passes go on meanwhile, and /readyz says why there are no watches, be it a right.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, NoReturn

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.telemetry import Readiness

logger = logging.getLogger(__name__)

LASTING: Final = 60.0
"""Seconds after which watches that end did work: the next failure counts as the first."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries to watch at most."""

Task = asyncio.Task[Any]


async def keep_watching(
    watch: Callable[[], Awaitable[NoReturn]], readiness: Readiness, stop: asyncio.Event
) -> None:
    """Watch until `stop` is set; `watch` raises `ClusterError` with what ended a watch."""
    for failure in await run_until_one_ends(stop.wait(), _repeat(watch, readiness)):
        raise failure


async def _repeat(watch: Callable[[], Awaitable[NoReturn]], readiness: Readiness) -> NoReturn:
    failures, clock = 0, asyncio.get_running_loop().time
    while True:
        began = clock()
        try:
            await watch()
        except errors.ClusterError as error:
            failures = 0 if clock() - began > LASTING else failures + 1
            pause = min(2.0 ** min(failures, 16), LONGEST_PAUSE)
            readiness.lose(str(error))
            logger.error("the watches begin again in %.0f s: %s", pause, error)  # noqa: TRY400
            await asyncio.sleep(pause)


async def run_until_one_ends(
    *coroutines: Coroutine[Any, Any, Any], beside: Iterable[Task] = ()
) -> list[Exception]:
    """Run until one of these ends, or of the tasks beside; end the others.

    Gives what any of them raised.
    """
    tasks = [*beside, *map(asyncio.create_task, coroutines)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = await end(tasks)
    return ended


async def end(tasks: Iterable[Task]) -> list[Exception]:
    """Cancel tasks, wait until they have ended, and give what any of them raised."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    outcomes = await asyncio.gather(*ending, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]
