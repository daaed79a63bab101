"""The results beside their budgets, as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass


class BenchError(Exception):
    """A measurement failed."""


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    what: str
    measured: float
    unit: str
    budget: float | None = None
    detail: str = ""

    @property
    def ratio(self) -> float | None:
        """The measured value as a fraction of the budget."""
        return self.measured / self.budget if self.budget else None

    @property
    def verdict(self) -> str:
        if self.budget is None:
            return ""
        return "ok" if self.measured <= self.budget else "MISSED"


@dataclass(frozen=True)
class Series:
    """Several measurements of one value."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        ordered = sorted(self.values)
        middle = len(ordered) // 2
        return (ordered[middle] + ordered[-middle - 1]) / 2

    def __str__(self) -> str:
        return " ".join(f"{value:.2f}" for value in self.values)


def render_text(header: Sequence[str], results: Sequence[Result]) -> str:
    rows = [("", "measured", "budget", "ratio", "", "")]
    for result in results:
        budget = "" if result.budget is None else f"{result.budget:.4g} {result.unit}"
        ratio = "" if result.ratio is None else f"{result.ratio:.0%}"
        measured = f"{result.measured:.4g} {result.unit}"
        rows.append((result.what, measured, budget, ratio, result.verdict, result.detail))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [row[column].rjust(widths[column]) for column in (1, 2, 3)]
        cells += [row[4].ljust(widths[4]), row[5]]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*header, "", *lines])


def render_json(header: Sequence[str], results: Sequence[Result]) -> str:
    return json.dumps(
        {
            "about": list(header),
            "results": [
                {
                    "what": result.what,
                    "measured": round(result.measured, 4),
                    "unit": result.unit,
                    "budget": result.budget,
                    "ok": None if result.budget is None else result.verdict == "ok",
                    "detail": result.detail,
                }
                for result in results
            ],
        },
        indent=2,
    )
