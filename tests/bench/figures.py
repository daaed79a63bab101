"""What a scenario measures: figures beside their budgets, and the statistics that they are made of.

Pure: nothing here reads a cluster, a clock or a file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

LEAST_POINTS: Final = 3
"""Two points always lie on a line."""


class BenchError(Exception):
    """A measurement failed."""


@dataclass(frozen=True)
class Budget:
    """What a figure is measured in, and the most that it may be; a figure without is only told."""

    unit: str
    most: float | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    detail: str = ""

    @property
    def ratio(self) -> float | None:
        """The value as a fraction of the budget."""
        return self.value / self.budget if self.budget else None

    @property
    def ok(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        return None if self.budget is None else self.value <= self.budget


@dataclass
class Sheet:
    """What one scenario has measured so far. It takes only the figures of its table."""

    table: Mapping[str, Budget]
    size: str = ""
    """How large the scenario was: figures of different sizes are not compared silently."""
    lines: list[str] = field(default_factory=list)
    """What is told below the figures, such as a timeline."""
    _figures: dict[str, Figure] = field(default_factory=dict)

    def put(self, name: str, value: float, detail: str = "") -> None:
        """Enter a figure, or replace it."""
        budget = self.table[name]
        self._figures[name] = Figure(name, value, budget.unit, budget.most, detail)

    @property
    def figures(self) -> list[Figure]:
        """What was measured, in the order of the table."""
        return [self._figures[name] for name in self.table if name in self._figures]


@dataclass(frozen=True)
class Outcome:
    """A scenario that ran."""

    name: str
    size: str
    seconds: float
    figures: tuple[Figure, ...]
    lines: tuple[str, ...] = ()
    error: str = ""
    """Why it did not run to its end; the figures until then are kept."""


@dataclass(frozen=True)
class Series:
    """Several measurements of one value."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Series":
        """Take the values; there has to be one."""
        found = tuple(values)
        if not found:
            raise BenchError("nothing was measured")
        return cls(found)

    @property
    def median(self) -> float:
        """The middle one, or the mean of the two in the middle."""
        ordered = sorted(self.values)
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[-middle - 1]) / 2

    @property
    def most(self) -> float:
        """The largest one."""
        return max(self.values)

    @property
    def growth(self) -> float:
        """How much the last fifth is above the first one, each by its median."""
        fifth = max(len(self.values) // 5, 1)
        return Series(self.values[-fifth:]).median - Series(self.values[:fifth]).median

    def __str__(self) -> str:
        return " ".join(f"{value:.2f}" for value in self.values)


@dataclass(frozen=True)
class Slope:
    """By how much a value grows in each unit of time."""

    value: float
    error: float
    """The standard error; it is too small where neighbouring measurements depend on each other."""


def fit_slope(points: Iterable[tuple[float, float]]) -> Slope:
    """Fit a line through the points, time and value each, by least squares."""
    found = tuple(points)
    times, values = ([point[axis] for point in found] for axis in (0, 1))
    if len(set(times)) < LEAST_POINTS:
        raise BenchError("too little was measured for a slope")
    middle, mean = sum(times) / len(found), sum(values) / len(found)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - mean) for at, value in found) / spread
    rest = sum((value - mean - slope * (at - middle)) ** 2 for at, value in found)
    return Slope(slope, sqrt(rest / (len(found) - 2) / spread))


def count_in_sequence(spans: Iterable[tuple[float, float]]) -> int:
    """Count the longest chain of spans of which each begins after the previous one has ended.

    Of the requests of one plugin it is the path on which a late answer delays everything.
    """
    chained, free_at = 0, float("-inf")
    for begun, ended in sorted(spans, key=lambda span: span[1]):
        if begun >= free_at:
            chained, free_at = chained + 1, ended
    return chained


def find_caused(counted: float, quiet: float, chance: float) -> float:
    """Say how much of a count neither a quiet period of the same length nor chance explains."""
    return max(counted - quiet - chance, 0.0)
