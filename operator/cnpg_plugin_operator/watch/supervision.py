"""Keeps the watches running, whatever ends them. It must not use kopf or know the kinds.

No answer of the API server ends the process: the watches start again with a back-off. Passes
continue meanwhile, and /readyz reports why there are no watches, for example a missing right.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, NoReturn

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.telemetry import Readiness

logger = logging.getLogger(__name__)

LASTING: Final = 60.0
"""Seconds after which watches count as working: the next failure is then the first again."""

LONGEST_PAUSE: Final = 30.0
"""Longest pause in seconds between two attempts to watch."""

Task = asyncio.Task[Any]


async def keep_watching(
    watch: Callable[[], Awaitable[NoReturn]], readiness: Readiness, stop: asyncio.Event
) -> None:
    """Watch until `stop` is set; `watch` raises `ClusterError` when a watch ends."""
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
            logger.error("the watches start again in %.0f s: %s", pause, error)  # noqa: TRY400
            await asyncio.sleep(pause)


async def run_until_one_ends(
    *coroutines: Coroutine[Any, Any, Any], beside: Iterable[Task] = ()
) -> list[Exception]:
    """Run until one of these, or of the `beside` tasks, ends; end the others.

    Returns what any of them raised.
    """
    tasks = [*beside, *map(asyncio.create_task, coroutines)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = await end(tasks)
    return ended


async def end(tasks: Iterable[Task]) -> list[Exception]:
    """Cancel tasks, wait until they have ended, and return what any of them raised."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    outcomes = await asyncio.gather(*ending, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]
