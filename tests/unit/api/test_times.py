from datetime import UTC, datetime, timedelta, timezone

import pytest

from cnpg_plugin_operator.api.times import (
    is_over,
    read_noted_count,
    read_noted_time,
    tell_time,
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
def test_a_noted_time_counts_unless_it_lies_in_the_future(
    text: object, found: datetime | None
) -> None:
    assert read_noted_time(text, NOW) == found


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (3, 3), (-1, 5), (10**7, 5), ("3", 5), (True, 5), (2.0, 5), (None, 5), ({}, 5)],
)
def test_a_noted_count_is_a_small_number_or_counts_as_the_default(
    value: object, count: int
) -> None:
    assert read_noted_count(value, 5) == count


def test_people_are_told_the_date_and_the_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))

    assert tell_time(elsewhere) == "2026-03-01 12:00:00 UTC"


def test_the_first_of_all_times_is_over() -> None:
    assert is_over(datetime.min.replace(tzinfo=UTC), NOW)
