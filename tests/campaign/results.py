"""What became of plans and mutants: shown, kept, and recorded.

A campaign may take several machines: the record, `results.jsonl` beside this module, goes with the
project, and what it has of the operator's present sources does not run again.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.campaign.plans import Plan
from tests.support.e2e.installation import ROOT

RECORD: Final = Path(__file__).with_name("results.jsonl")

PASSED, VIOLATED = "passed", "violated"
REFUSED, UNREACHED = "refused", "unreached"
"""Nothing was disturbed: the API server did not allow it, or there was no such request."""
FOUND, SURVIVED = "found", "survived"
"""Results of mutants."""
MUTANT: Final = "mutant"
"""Their class."""


@dataclass
class Result:
    """The line of a plan in the table."""

    plan: str
    group: str
    result: str
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    when: str = ""
    operator: str = ""
    """Digest of the operator's sources."""

    def line(self) -> str:
        """As it is kept: the record names files as they are called in the project."""
        return json.dumps(asdict(self)).replace(f"{ROOT}/", "")


def read(file: Path | None = None) -> dict[str, Result]:
    """Read a file, or the record, by plan; the last line of a plan counts."""
    file = file or RECORD
    lines = file.read_text().splitlines() if file.exists() else []
    found = [Result(**json.loads(line)) for line in lines]
    return {each.plan: each for each in found}


def record(results: Iterable[Result]) -> None:
    """Put results into the record, in place of earlier ones of the same plans."""
    kept = {**read(), **{each.plan: each for each in results}}
    RECORD.write_text("".join(f"{kept[plan].line()}\n" for plan in sorted(kept)))


class Report:
    """The results so far: one line each, kept, and shown as they come."""

    def __init__(self, file: Path, plans: Sequence[Plan], known: Mapping[str, Result]) -> None:
        self._file, self._plans = file, plans
        self.results = {**known, **read(file)}
        self._begun, self._ran = time.monotonic(), 0

    def todo(self, *, again: bool) -> list[Plan]:
        """The plans without a result; all of them if they are to run again."""
        return [each for each in self._plans if again or each.name not in self.results]

    def take(self, result: Result, left: int) -> None:
        """Keep a result, and say how far it is."""
        self.results[result.plan] = result
        with self._file.open("a") as file:
            file.write(result.line() + "\n")
        self._ran += 1
        each = (time.monotonic() - self._begun) / self._ran
        print(
            f"{result.result:9} {result.plan} ({result.seconds:.0f} s); {left} left, "
            f"{left * each / 60:.0f} min",
            flush=True,
        )
        for violation in result.violations:
            print(f"          {violation}", flush=True)

    def table(self) -> str:
        """How many plans of each class have which result."""
        rows = [["class", "plans", PASSED, VIOLATED, REFUSED, UNREACHED, "not run"]]
        groups = dict.fromkeys(plan.group for plan in self._plans)
        for group in (*groups, "all"):
            plans = [p for p in self._plans if group in (p.group, "all")]
            found = [self.results[p.name].result for p in plans if p.name in self.results]
            counts = [found.count(each) for each in (PASSED, VIOLATED, REFUSED, UNREACHED)]
            numbers = (len(plans), *counts, len(plans) - len(found))
            rows.append([group, *map(str, numbers)])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    @property
    def is_clean(self) -> bool:
        """Whether no plan was violated."""
        return not any(
            self.results[p.name].result == VIOLATED for p in self._plans if p.name in self.results
        )
