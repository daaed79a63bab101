"""The page that shows what the campaign has found: a table by class, and the mutants."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tests.campaign.results import (
    FOUND,
    MUTANT,
    PASSED,
    REFUSED,
    UNREACHED,
    VIOLATED,
    Result,
)

ABOUT: Final[Mapping[str, str]] = {
    "api-write": "a write fails before or after it is done: 403 to 503, a reset, no answer",
    "api-read": "a read fails: 403 to 503, a reset, no answer",
    "kill": "the operator is killed before and after a write",
    "watch": "a watch is half open, silent, late, doubled, out of order, expired, or loses events",
    "refusal": "every write of one kind is refused until the status says so",
    "api-away": "the API server is away for one minute, or five",
    "token": "the account has another token, and the previous one is refused",
    "rights": "one verb of one right is removed from the operator, and given back",
    "quota": "a quota leaves no room for objects of one kind",
    "address": "there is no address for a Service",
    "cnpg": "CloudNativePG is recreated, replaced, scaled to nothing, or loses its Lease; or the "
    "time of a recorded roll is in the future",
    "namespace": "the namespace is deleted and created again",
    "crds": "cert-manager's CRDs, or the operator's own, are removed and restored",
    "node": "the node restarts",
    "mutation": "others change a label, selector, owner, annotation, port, key or status",
    "misoperation": "a user sets a field to what was not meant, and takes it back",
}
"""What happens in the plans of each class."""

_OUTCOMES: Final = (PASSED, REFUSED, UNREACHED, VIOLATED)


_INTRODUCTION: Final = """# The fault campaign

You see what the operator was tried with before it reached you. A *plan* disturbs one step of a
user's work on a real cluster, with a real CloudNativePG, cert-manager and plugin. Then the same
oracle judges each: the end state is that of an undisturbed run, CloudNativePG was rolled no more
often than there, no call of the plugin failed that need not, nothing is left behind, and the
operator is silent afterwards. `make campaign` runs the plans; `make reference` generates this page
from their record.
"""

_WORDS: Final = """*Refused*: the API server does not allow the disturbance, such as an unknown
value in a Deployment. *Unreached*: the request that it disturbs was not made.

## Mutants

A campaign that finds nothing proves something only if it would find defects. Each mutant is the
operator with one defect, most of which it once had; a plan has to find it.
"""


def page(results: Iterable[Result]) -> str:
    """Show the results."""
    every = list(results)
    plans = [each for each in every if each.group in ABOUT]
    hours = sum(each.seconds for each in plans) / 3600
    sources = _count(len({each.operator for each in plans}), "version")
    ran = (
        f"{_count(len(plans), 'plan')} with {sources} of the operator's sources took {hours:.0f} "
        "hours, ten or more of them side by side.\n"
    )
    mutants = [each for each in every if each.group == MUTANT]
    return "\n".join([_INTRODUCTION, ran, _by_class(plans), _WORDS, _mutants(mutants)])


def _by_class(plans: list[Result]) -> str:
    rows: list[tuple[str, ...]] = [("class", "what happens", *_OUTCOMES)]
    for group, about in ABOUT.items():
        rows.append((group, about, *_counts(each for each in plans if each.group == group)))
    return _table([*rows, ("all", "", *_counts(plans))])


def _counts(plans: Iterable[Result]) -> list[str]:
    found = [each.result for each in plans]
    return [str(found.count(outcome)) for outcome in _OUTCOMES]


def _mutants(mutants: Iterable[Result]) -> str:
    rows = [("mutant", "found by")]
    for each in sorted(mutants, key=lambda each: each.plan):
        plan = each.violations[0].partition(": ")[0] if each.result == FOUND else ""
        rows.append((each.plan, f"`{plan}`" if plan else "none"))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
