from datetime import UTC, datetime, timedelta, timezone

import pytest

from cnpg_plugin_operator.api.times import (
    display_time,
    is_over,
    read_recorded_count,
    read_recorded_time,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("2026-03-01T11:59:59Z", NOW - timedelta(seconds=1), id="the past"),
        pytest.param("2026-03-01T12:04:59Z", NOW + timedelta(seconds=299), id="a clock ahead"),
        pytest.param("2026-03-01T12:05:01Z", None, id="the future"),
        pytest.param("9999-12-31T23:59:59-23:59", None, id="the end of time"),
        pytest.param("yesterday", None, id="no time"),
        pytest.param(7, None, id="no text"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_recorded_time_counts_unless_it_is_in_the_future(
    text: object, found: datetime | None
) -> None:
    assert read_recorded_time(text, NOW) == found


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (3, 3), (-1, 5), (10**7, 5), ("3", 5), (True, 5), (2.0, 5), (None, 5), ({}, 5)],
)
def test_a_recorded_count_is_a_small_number_or_the_default(value: object, count: int) -> None:
    assert read_recorded_count(value, 5) == count


def test_times_for_users_have_date_and_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))

    assert display_time(elsewhere) == "2026-03-01 12:00:00 UTC"


def test_the_earliest_time_is_in_the_past() -> None:
    assert is_over(datetime.min.replace(tzinfo=UTC), NOW)
