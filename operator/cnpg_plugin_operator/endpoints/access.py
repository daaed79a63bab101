"""Who may read the metrics: the API server says so, as for controller-runtime's operators.

What it says is kept for a while, by the hash of the token. However many requests come, few reviews
run at once, each ends in time, and little is kept. A token must not get into a log line, an
exception or a metric.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from cnpg_plugin_operator import errors

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Maximum reviews at the same time, and connections for them; other requests wait."""

PATIENCE: Final = 5.0
"""Seconds that a request waits for its verdict: half of Prometheus's default for a scrape."""

ALLOWED_FOR: Final = 60.0
"""Seconds for which a token that may read is not reviewed again."""

REFUSED_FOR: Final = 10.0
"""Seconds for which a refused token is not reviewed again: a right that was missing works soon."""

MOST: Final = 256
"""Maximum verdicts of each kind that are kept; few clients scrape."""

PATH: Final = "/metrics"


class Reviews(Protocol):
    """What the API server is asked. Both raise `ClusterError`."""

    async def find_user(self, token: str) -> Mapping[str, Any] | None:
        """Return the user of a token; None where it is not valid."""

    async def may_get(self, user: Mapping[str, Any], path: str) -> bool:
        """Return whether a user may get a URL."""


class _Kept:
    """Verdicts by the hash of the token; the oldest makes room for a new one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._verdicts: dict[bytes, tuple[HTTPStatus, float]] = {}

    def find(self, key: bytes, now: float) -> HTTPStatus | None:
        verdict, until = self._verdicts.get(key, (None, now))
        return verdict if now < until else None

    def keep(self, key: bytes, verdict: HTTPStatus, now: float) -> None:
        self._verdicts.pop(key, None)
        self._verdicts[key] = verdict, now + self._seconds
        if len(self._verdicts) > MOST:
            del self._verdicts[next(iter(self._verdicts))]


class Access:
    """Judges tokens."""

    def __init__(self, reviews: Reviews, clock: Callable[[], float] = time.monotonic) -> None:
        self._reviews, self._clock = reviews, clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._allowed, self._refused = _Kept(ALLOWED_FOR), _Kept(REFUSED_FOR)
        self._is_failing = False

    async def judge(self, token: str) -> HTTPStatus:
        """Return OK, or with which status the token is refused."""
        key = hashlib.sha256(token.encode()).digest()
        try:
            async with asyncio.timeout(PATIENCE):
                return self._find(key) or await self._review(key, token)
        except (errors.ClusterError, TimeoutError) as error:
            if not self._is_failing:
                why = str(error) or "no answer in time"
                logger.warning("cannot find out who may read the metrics: %s", why)
            self._is_failing = True
            return HTTPStatus.SERVICE_UNAVAILABLE

    def _find(self, key: bytes) -> HTTPStatus | None:
        now = self._clock()
        return self._allowed.find(key, now) or self._refused.find(key, now)

    async def _review(self, key: bytes, token: str) -> HTTPStatus:
        async with self._slots:
            if (verdict := self._find(key)) is not None:
                return verdict  # of a request with the same token, which this one waited for
            user = await self._reviews.find_user(token)
            if user is None:
                verdict = HTTPStatus.UNAUTHORIZED
            elif not await self._reviews.may_get(user, PATH):
                verdict = HTTPStatus.FORBIDDEN
            else:
                verdict = HTTPStatus.OK
        self._is_failing = False
        kept = self._allowed if verdict == HTTPStatus.OK else self._refused
        kept.keep(key, verdict, self._clock())
        return verdict
