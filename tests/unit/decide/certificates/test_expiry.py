"""When the state of certificates changes by itself, and when users are warned."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import format_time
from cnpg_plugin_operator.decide.certificates.expiry import (
    WARN_MOST,
    find_expiring,
    next_check,
    warn_at,
)
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts
from tests.support.unit.builders import NOW, certificate, pair

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)


def living(life: timedelta, name: str = "hello") -> CertificateFacts:
    """A certificate that begins now."""
    return certificate(name, since=timedelta(), until=life)


WARNINGS = [
    ("a sixth of an hour before its end", HOUR, None, 50 * timedelta(minutes=1)),
    ("a sixth of ninety days before their end", 90 * DAY, None, 75 * DAY),
    ("thirty days before the end of half a year", 180 * DAY, None, 150 * DAY),
    ("no earlier than thirty days before the end of a year", 365 * DAY, None, 335 * DAY),
    ("no earlier than thirty days before the end of ten years", 3650 * DAY, None, 3620 * DAY),
    ("as without a renewal, where that comes long before", 90 * DAY, 60 * DAY, 75 * DAY),
    ("half-way between a late renewal and the end", 90 * DAY, 80 * DAY, 85 * DAY),
    ("half-way between a late renewal and the end of years", 3650 * DAY, 3640 * DAY, 3645 * DAY),
    ("after a renewal an hour before the end", HOUR * 24, HOUR * 23, HOUR * 23.5),
    ("at the end, where the renewal is then", 90 * DAY, 90 * DAY, 90 * DAY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("life", "renewal", "moment"), [row[1:] for row in WARNINGS], ids=[row[0] for row in WARNINGS]
)
def test_users_are_warned(life: timedelta, renewal: timedelta | None, moment: timedelta) -> None:
    due = NOW + renewal if renewal is not None else None

    assert warn_at(living(life), due) == NOW + moment


SECONDS = st.integers(3600, 100 * 365 * 86400)


@given(SECONDS, st.none() | st.floats(0, 0.999))
def test_a_warning_comes_in_time_but_not_before_the_renewal(
    seconds: int, part: float | None
) -> None:
    life = timedelta(seconds=seconds)
    leaf = living(life)
    renewal = NOW + life * part if part is not None else None
    moment = warn_at(leaf, renewal)

    assert leaf.not_before < moment < leaf.not_after
    assert renewal is None or renewal < moment
    assert leaf.not_after - moment <= WARN_MOST


@given(SECONDS, st.none() | st.floats(0, 0.999))
def test_the_next_check_never_misses_a_warning(seconds: int, part: float | None) -> None:
    life = timedelta(seconds=seconds)
    pairs, renewals = (pair(living(life)),), (NOW + life * part if part is not None else None,)
    now, warned = NOW, False
    while not warned:
        check = next_check(pairs, renewals, now)
        assert check is not None
        assert check > now
        now, warned = check, find_expiring(pairs, renewals, check) is not None

    assert now == warn_at(living(life), renewals[0])


SERVER = pair(living(90 * DAY), secret="server")
CLIENT = pair(living(60 * DAY, "cnpg"), secret="client")
PAIRS = (SERVER, CLIENT)


@pytest.mark.parametrize(
    ("after", "named"),
    [
        (50 * DAY - SECOND, None),
        (50 * DAY, "client"),
        (75 * DAY - SECOND, "client"),
        (75 * DAY, "client"),
    ],
    ids=["none early", "the first", "the one that is late", "the one that ends first"],
)
def test_the_warning_names(after: timedelta, named: str | None) -> None:
    verdict = find_expiring(PAIRS, (None, None), NOW + after)

    assert (verdict is None) == (named is None)
    if verdict is not None:
        assert verdict.is_true
        assert verdict.reason is Reason.EXPIRING
        assert verdict.message.startswith(
            f"Secret {named}: the certificate expires at 2026-04-30T12"
        )


def test_there_is_no_warning_before_a_scheduled_renewal() -> None:
    late = NOW + 58 * DAY

    assert find_expiring(PAIRS, (None, late), NOW + 55 * DAY) is None
    assert find_expiring(PAIRS, (None, late), NOW + 59 * DAY) is not None


def test_a_secret_without_a_certificate_causes_no_warning() -> None:
    assert find_expiring((PairFacts("server"),), (None,), NOW) is None


WITH_AUTHORITY = pair(
    living(90 * DAY), certificate("sub", ca=True, since=timedelta(), until=20 * DAY)
)
NEXT = [
    ("the beginning of a certificate", (SERVER,), (None,), -HOUR, timedelta()),
    ("a renewal before the warning", (SERVER,), (NOW + 60 * DAY,), DAY, 60 * DAY),
    ("the warning after the renewal", (SERVER,), (NOW + 60 * DAY,), 60 * DAY, 75 * DAY),
    ("the warning without a renewal", (SERVER,), (None,), DAY, 75 * DAY),
    ("the end after the warning", (SERVER,), (None,), 75 * DAY, 90 * DAY),
    ("the earlier of two pairs", PAIRS, (None, None), DAY, 50 * DAY),
    ("the end of an intermediate", (WITH_AUTHORITY,), (None,), DAY, 20 * DAY),
]


@pytest.mark.parametrize(
    ("pairs", "renewals", "now", "moment"),
    [row[1:] for row in NEXT],
    ids=[row[0] for row in NEXT],
)
def test_the_next_check_is_at(
    pairs: tuple[PairFacts, ...],
    renewals: tuple[datetime | None, ...],
    now: timedelta,
    moment: timedelta,
) -> None:
    assert next_check(pairs, renewals, NOW + now) == NOW + moment


@pytest.mark.parametrize("pairs", [(), (PairFacts("server"),), (SERVER,)])
def test_nothing_is_checked_after_everything_has_expired(pairs: tuple[PairFacts, ...]) -> None:
    assert next_check(pairs, tuple(None for _ in pairs), NOW + 90 * DAY) is None


def test_times_are_written_as_the_api_does() -> None:
    elsewhere = datetime(2026, 3, 1, 14, 0, 0, 999, tzinfo=timezone(2 * HOUR))

    assert (
        format_time(elsewhere) == format_time(elsewhere.astimezone(UTC)) == "2026-03-01T12:00:00Z"
    )
