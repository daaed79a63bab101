"""The outcomes of a run for a terminal, as JSON, and beside those of an earlier run. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.bench.figures import Figure, Outcome

Run = Mapping[str, Any]
"""A saved run, as `to_json` builds it."""


def render_text(about: Sequence[str], outcomes: Iterable[Outcome]) -> str:
    """Write the report as a terminal shows it."""
    found = list(outcomes)
    widths = _widths([_cells(figure) for outcome in found for figure in outcome.figures])
    return "\n".join([*about, *(line for each in found for line in _render(each, widths))])


def _render(outcome: Outcome, widths: Sequence[int]) -> list[str]:
    size = f": {outcome.size}" if outcome.size else ""
    rows = [_join(_cells(figure), widths) for figure in outcome.figures]
    error = [f"  FAILED: {outcome.error}"] if outcome.error else []
    below = [f"    {line}" for line in outcome.lines]
    return ["", f"{outcome.name}{size} ({outcome.seconds:.0f} s)", *rows, *error, *below]


def _cells(figure: Figure) -> list[str]:
    budget = "" if figure.budget is None else f"of {_number(figure.budget)} {figure.unit}".rstrip()
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    verdict = {None: "", True: "ok", False: "MISSED"}[figure.ok]
    value = f"{_number(figure.value)} {figure.unit}".rstrip()
    return [figure.name, value, budget, ratio, verdict, figure.detail]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max((len(row[column]) for row in rows), default=0) for column in range(5)]


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    *measured, verdict, detail = cells
    return f"{_align([*measured, verdict.ljust(widths[4])], widths)}  {detail}".rstrip()


def to_json(about: Sequence[str], outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Build what is saved."""
    return {
        "about": list(about),
        "scenarios": [
            {
                "name": outcome.name,
                "size": outcome.size,
                "seconds": round(outcome.seconds, 1),
                "error": outcome.error,
                "figures": [_figure(figure) for figure in outcome.figures],
                "lines": list(outcome.lines),
            }
            for outcome in outcomes
        ],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    ratio = figure.ratio
    return {
        "name": figure.name,
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "budget": figure.budget,
        "ratio": None if ratio is None else round(ratio, 4),
        "ok": figure.ok,
        "detail": figure.detail,
    }


def render_json(run: Run) -> str:
    """Write a run as it is saved."""
    return json.dumps(run, indent=1)


def compare(old: Run, new: Run) -> str:
    """Put the figures of two runs side by side: old, new, and their ratio."""
    before = {each["name"]: each for each in old["scenarios"]}
    lines = [f"against the run that {old['about'][0]}" if old["about"] else "against another run"]
    tables: list[tuple[str, list[list[str]]]] = []
    for scenario in new["scenarios"]:
        earlier = before.get(scenario["name"], {"size": "", "figures": []})
        known = {figure["name"]: figure for figure in earlier["figures"]}
        rows = [_compared(known.get(figure["name"]), figure) for figure in scenario["figures"]]
        tables.append((f"{scenario['name']}: {_sizes(earlier, scenario)}", rows))
    widths = _widths([row for _, rows in tables for row in rows])
    for heading, rows in tables:
        lines += [heading.removesuffix(": "), *(_align(row, widths).rstrip() for row in rows)]
    return "\n".join(lines)


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers, remark = row
    aligned = [cell.rjust(width) for cell, width in zip(numbers, widths[1:4], strict=True)]
    return "  " + "  ".join([name.ljust(widths[0]), *aligned, remark])


def _sizes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if not old["figures"] or old["size"] == new["size"]:
        return str(new["size"])
    return f"{old['size']} → {new['size']} (ANOTHER SIZE)"


def _compared(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    name, now = new["name"], f"→ {_number(new['value'])} {new['unit']}".rstrip()
    if old is None:
        return [name, "", now, "", "new"]
    was = f"{_number(old['value'])} {old['unit']}".rstrip()
    ratio = f"{new['value'] / old['value']:.2f}x" if old["value"] else ""
    turned = {(True, False): "now MISSED", (False, True): "now ok"}
    return [name, was, now, ratio, turned.get((old["ok"], new["ok"]), "")]
