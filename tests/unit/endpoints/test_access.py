"""Verdicts about tokens: asked for once, kept for a while, few at a time, and never without end."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.endpoints import access
from cnpg_plugin_operator.endpoints.access import AT_ONCE, MOST, Access

OK, UNKNOWN, FORBIDDEN = HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN
AWAY = HTTPStatus.SERVICE_UNAVAILABLE


class Reviews:
    """An API server that knows some users by their tokens, each of which is the user's name."""

    def __init__(self) -> None:
        self.users = {"reader", "stranger"}
        self.readers = {"reader"}
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.running = self.most = 0
        self.full = asyncio.Event()
        """As many reviews run as may."""

    async def find_user(self, token: str) -> Mapping[str, Any] | None:
        self.asked.append(token)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == AT_ONCE:
            self.full.set()
        try:
            await self.answers.wait()
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        return {"username": token} if token in self.users else None

    async def may_get(self, user: Mapping[str, Any], path: str) -> bool:
        assert path == "/metrics"
        return user["username"] in self.readers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(reviews: Reviews, clock: Clock) -> Access:
    return Access(reviews, clock)


@pytest.mark.parametrize(
    ("token", "verdict"), [("reader", OK), ("stranger", FORBIDDEN), ("nobody", UNKNOWN)]
)
async def test_the_api_server_decides(guard: Access, token: str, verdict: HTTPStatus) -> None:
    assert await guard.judge(token) == verdict


@pytest.mark.parametrize(
    ("token", "seconds"), [("reader", 60.0), ("stranger", 10.0), ("nobody", 10.0)]
)
async def test_a_verdict_is_kept_for_a_while(
    guard: Access, reviews: Reviews, clock: Clock, token: str, seconds: float
) -> None:
    first = await guard.judge(token)
    clock.now = seconds - 0.1
    assert await guard.judge(token) == first
    assert reviews.asked == [token]
    clock.now = seconds
    reviews.users.clear()
    assert await guard.judge(token) == UNKNOWN
    assert reviews.asked == [token, token]


async def test_refused_tokens_do_not_push_out_a_reader(guard: Access, reviews: Reviews) -> None:
    assert await guard.judge("reader") == OK
    for number in range(MOST + 1):
        assert await guard.judge(f"bad{number}") == UNKNOWN
    reviews.asked.clear()
    assert await guard.judge("reader") == OK
    assert await guard.judge(f"bad{MOST}") == UNKNOWN
    assert reviews.asked == []
    assert len(guard._refused._verdicts) == MOST
    assert await guard.judge("bad0") == UNKNOWN
    assert reviews.asked == ["bad0"], "the oldest made room"


async def test_few_reviews_run_at_once(guard: Access, reviews: Reviews) -> None:
    reviews.answers.clear()
    judging = [asyncio.create_task(guard.judge(f"bad{n}")) for n in range(3 * AT_ONCE)]
    await reviews.full.wait()
    reviews.answers.set()
    assert set(await asyncio.gather(*judging)) == {UNKNOWN}
    assert reviews.most == AT_ONCE


async def test_requests_that_wait_share_a_verdict(guard: Access, reviews: Reviews) -> None:
    reviews.answers.clear()
    judging = [asyncio.create_task(guard.judge("reader")) for _ in range(5 * AT_ONCE)]
    await reviews.full.wait()
    reviews.answers.set()
    assert set(await asyncio.gather(*judging)) == {OK}
    assert len(reviews.asked) == AT_ONCE


async def test_a_review_without_an_answer_ends(
    guard: Access, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "PATIENCE", 0.01)
    reviews.answers.clear()
    judging = (guard.judge(f"token{n}") for n in range(2 * AT_ONCE))
    assert set(await asyncio.gather(*judging)) == {AWAY}
    assert reviews.running == 0
    reviews.answers.set()
    assert await guard.judge("reader") == OK


async def test_an_api_server_that_is_away_is_logged_once_and_nothing_is_kept(
    guard: Access, reviews: Reviews, caplog: pytest.LogCaptureFixture
) -> None:
    reviews.failure = errors.UnavailableError("post TokenReview: no route")
    assert [await guard.judge("reader") for _ in range(3)] == [AWAY] * 3
    assert caplog.messages == [
        "cannot find out who may read the metrics: post TokenReview: no route"
    ]
    reviews.failure = None
    assert await guard.judge("reader") == OK
