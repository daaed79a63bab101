"""The tables in the documentation.

They say what each version was tried with, what it does by itself, and what does not work with it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cnpg_plugin_operator.decide.facts.cnpg_versions import RANGES, Fact, Version
from cnpg_plugin_operator.decide.facts.version_skew import KNOWN
from tests.matrix.results import Result, Results
from tests.matrix.rows import COLUMNS, ROWS

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "versions.md"

FACTS: Final[Mapping[Fact, str]] = {
    Fact.DISCOVERS: "finds a new Service without a restart",
    Fact.REREGISTERS: "reads a Service or Secret again when it changes",
    Fact.READS_SERVER_NAME: "verifies `tls.serverName`; others verify the Service's name",
    Fact.REPORTS_EVENTS: "reports a registration in Events on the Service",
    Fact.ADDS_FINALIZER: "forgets a plugin whose Service is deleted, by a finalizer",
    Fact.REMEMBERS_SERVICES: "forgets it without a finalizer, and removes those it finds",
    Fact.FOLLOWS_ROLLOUTS: "reconciles Clusters when a plugin's pods roll out",
    Fact.DIALS_NAMESPACE: "dials `<service>.<namespace>.svc`; others the Service's bare name",
}


def fill(page: str, results: Results) -> str:
    """Return the page with the present tables between their marks."""
    page = _between(page, "results", _results(results))
    page = _between(page, "facts", _facts())
    return _between(page, "skew", _skew())


def _between(page: str, name: str, table: str) -> str:
    begin, end = f"<!-- begin {name}: make matrix -->\n", f"<!-- end {name} -->\n"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _results(results: Results) -> str:
    lines = [
        ("CNPG", *(column.cnpg for column in COLUMNS)),
        ("---", *("---" for _ in COLUMNS)),
        ("Kubernetes", *(column.kubernetes for column in COLUMNS)),
    ]
    for test, row in ROWS.items():
        cells = (_cell(results.get(str(column), {}).get(test)) for column in COLUMNS)
        lines.append((row.title, *cells))
    return _table(lines)


def _facts() -> str:
    lines = [("CNPG", "versions"), ("---", "---")]
    lines += [
        (text, "; ".join(_span(*each) for each in RANGES[fact])) for fact, text in FACTS.items()
    ]
    return _table(lines)


def _skew() -> str:
    lines = [("plugin", "CNPG", "what does not work", "fixed", "source"), ("---",) * 5]
    lines += [
        (
            f"`{each.plugin}`",
            f"{_dotted(each.cnpg)} and newer",
            each.problem,
            _dotted(each.fixed) if each.fixed else "check your version",
            each.source,
        )
        for each in KNOWN
    ]
    return _table(lines)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _table(lines: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(result: Result | None) -> str:
    if result is None:
        return "not run"
    if result.outcome != "passed":
        return f"**{result.outcome}**"
    return f"✓ ({result.rolls})" if result.rolls else "✓"


def _span(first: Version, end: Version) -> str:
    """Describe the versions from one to before another: `1.29.0 to 1.29.2`."""
    begin = _dotted(first)
    major, minor, patch = end
    if patch:
        last = f"{major}.{minor}.{patch - 1}"
        return begin if last == begin else f"{begin} to {last}"
    return f"{begin} and newer {major}.{minor - 1}" if minor else f"{begin} and newer"
