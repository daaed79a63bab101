"""The figures of the bench: budgets, statistics, and what is caused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import (
    BenchError,
    Budget,
    Figure,
    Series,
    Sheet,
    count_in_sequence,
    find_caused,
    fit_slope,
)

SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 5)).map(lambda t: (t[0], t[0] + t[1])), max_size=12
)


@pytest.mark.parametrize(
    ("value", "budget", "ratio", "ok"),
    [
        (5.0, 10.0, 0.5, True),
        (10.0, 10.0, 1.0, True),
        (11.0, 10.0, 1.1, False),
        (0.0, 0.0, None, True),
        (1.0, 0.0, None, False),
        (3.0, None, None, None),
    ],
)
def test_a_figure_is_compared_with_its_budget(
    value: float, budget: float | None, ratio: float | None, ok: object
) -> None:
    figure = Figure("CPU", value, "%", budget)

    assert (figure.ratio, figure.ok) == (ratio, ok)


def test_a_sheet_keeps_the_order_of_its_table_and_leaves_out_what_was_not_measured() -> None:
    sheet = Sheet({"first": Budget("s"), "second": Budget("s"), "third": Budget("s", 2)})

    sheet.put("third", 1)
    sheet.put("first", 3, "said")

    assert sheet.figures == [Figure("first", 3, "s", None, "said"), Figure("third", 1, "s", 2)]


def test_a_sheet_takes_no_figure_without_a_row_in_its_table() -> None:
    with pytest.raises(KeyError):
        Sheet({}).put("unknown", 1)


@pytest.mark.parametrize(
    ("values", "median"), [([3.0], 3.0), ([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5)]
)
def test_the_median(values: list[float], median: float) -> None:
    assert Series.of(values).median == median


def test_a_series_of_nothing_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="nothing was measured"):
        Series.of([])


@pytest.mark.parametrize(
    ("values", "growth"),
    [
        ([100.0], 0.0),
        ([100.0, 103.0], 3.0),
        ([100.0, 190.0, 100.0, 100.0, 100.0], 0.0),
        ([100.0] * 4 + [150.0] * 2 + [110.0] * 4, 10.0),
    ],
)
def test_growth_is_between_the_first_and_the_last_fifth(values: list[float], growth: float) -> None:
    assert Series.of(values).growth == growth


@pytest.mark.parametrize(
    ("spans", "length"),
    [
        ([], 0),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 10), (1, 2), (3, 4)], 2),
        ([(0, 2), (1, 3)], 1),
    ],
)
def test_the_longest_path_is_the_longest_chain_of_requests(
    spans: list[tuple[float, float]], length: int
) -> None:
    assert count_in_sequence(spans) == length


@given(SPANS)
def test_one_more_request_never_shortens_the_longest_path(spans: list[tuple[int, int]]) -> None:
    lengths = [count_in_sequence(spans[:number]) for number in range(len(spans) + 1)]

    assert lengths == sorted(lengths)
    assert lengths[-1] <= len(spans)


@pytest.mark.parametrize(
    ("counted", "quiet", "chance", "caused"), [(30, 20, 4, 6), (22, 20, 4, 0), (0, 20, 0, 0)]
)
def test_what_a_quiet_period_or_chance_explains_is_not_caused(
    counted: int, quiet: int, chance: int, caused: int
) -> None:
    assert find_caused(counted, quiet, chance) == caused


def test_a_slope_of_points_on_a_line_has_no_error() -> None:
    slope = fit_slope([(1, 5), (2, 7), (4, 11)])

    assert (slope.value, slope.error) == pytest.approx((2, 0))


def test_a_slope_of_noise_says_how_little_it_says() -> None:
    slope = fit_slope((at, at % 2) for at in range(20))

    assert abs(slope.value) < 2 * slope.error


def test_two_points_are_too_few_for_a_slope() -> None:
    with pytest.raises(BenchError):
        fit_slope([(1, 5), (2, 7), (2, 8)])
