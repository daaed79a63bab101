"""What happens to a pass that an error ended: which condition reports it, and when.

Every error is reported by the condition whose stage it ended. The conditions before it were just
evaluated, those after it keep their last verdicts.
"""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.conditions import SUMMED_UP, Reason, Type, Verdict, no, read_verdict
from cnpg_plugin_operator.api.status import Report
from cnpg_plugin_operator.api.untrusted import printable
from cnpg_plugin_operator.reconcile.stages import Failure

logger = logging.getLogger(__name__)

REPORT_AFTER: Final = 3
"""Consecutive passes with the same kind of failure before a request that may succeed the next time
is reported. An API server that has just started refuses some requests for a second or two, as too
many (429), not found or forbidden (1.34); and while it was away, all of them failed."""

REPORT_ANY_AFTER: Final = 10
"""The same for failures of alternating kinds, all of which the API server answered."""

MESSAGE_LIMIT: Final = 800
"""Maximum bytes of the API server's message, so that the advice fits behind it."""

Key = tuple[str, str]
"""Namespace and name of a resource."""


@dataclass(slots=True)
class Failures:
    """Consecutive failures of each resource; they only decide when a failure is reported."""

    _last: dict[Key, tuple[type[Exception], int, int]] = field(default_factory=dict)

    def record(self, key: Key, error: Exception) -> int:
        """Count one more, and return the number of consecutive ones of this kind.

        Where the kinds alternate for long, it is the number of all.
        """
        kind, count, every = self._last.get(key, (None, 0, 0))
        count = count + 1 if kind is type(error) else 1
        every = 0 if type(error) is errors.UnavailableError else every + 1
        self._last[key] = (type(error), count, every)
        return every if every >= REPORT_ANY_AFTER else count

    def forget(self, key: Key) -> None:
        """Reset the count: a pass succeeded, or the resource is gone."""
        self._last.pop(key, None)


def judge_failure(failure: Failure, count: int) -> Verdict | None:
    """Return the verdict of the failed stage; None while the next attempt may succeed."""
    error = failure.error
    words = printable(error, MESSAGE_LIMIT).rstrip(".")
    match error:
        case errors.WriteLoopError() | errors.NameTakenError():
            stopped = isinstance(error, errors.WriteLoopError)
            reason = Reason.WRITE_LOOP_STOPPED if stopped else Reason.NAME_CONFLICT
            return no(reason, f"{words}.")
        case errors.InvalidSpecError() | errors.RejectedError():
            return no(Reason.INVALID_SPEC, f"{words}.")
        case errors.ClusterError() if count < REPORT_AFTER:
            return None
        case errors.ForbiddenError():
            return no(
                Reason.CLUSTER_ERROR,
                f"{words}. Grant the operator what it lacks, or change the policy that refuses "
                "the request; the operator repeats it.",
            )
        case errors.ClusterError():
            return no(Reason.CLUSTER_ERROR, f"{words}. The operator repeats the request.")
        case _:
            return no(
                Reason.INTERNAL_ERROR,
                f"The operator failed unexpectedly ({type(error).__name__}); its log says where. "
                "Please report that. The operator tries again.",
            )


def judge_unread(failure: Failure, count: int) -> Verdict | None:
    """Evaluate a pass that could not even read the cluster, so nothing was refused."""
    reported = judge_failure(failure, count)
    return (
        None
        if isinstance(failure.error, errors.ClusterError) and count < REPORT_AFTER
        else reported
    )


def log_failure(failure: Failure, reference: Mapping[str, str]) -> None:
    """Log an unexpected error with its origin, but without the values that it names."""
    error = failure.error
    if isinstance(error, errors.OperatorError):
        return
    logger.error(
        "%s: %s",
        failure.condition,
        type(error).__name__,
        extra={**reference, "trace": where(error)},
    )


def where(error: Exception) -> str:
    """Name the innermost calls of an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return " < ".join(f"{f.name} {f.filename.rpartition('/')[2]}:{f.lineno}" for f in frames[::-1])


def settle(
    previous: Mapping[str, Any], report: Report, failure: Failure, reported: Verdict | None
) -> Report:
    """Complete the report of a pass that failed.

    Until the failure is reported, all conditions stay unchanged. Where an earlier condition is not
    True, that one reports the failure, because `Ready` repeats the first such condition.
    """
    verdicts = dict(report.verdicts) if reported is not None else {}
    kept = set()
    for kind in (*SUMMED_UP, Type.SUSPENDED):
        known = read_verdict(previous, kind) if kind not in verdicts else None
        if known is not None:
            verdicts[kind] = known
            kept.add(kind)
    if reported is not None:
        earlier = SUMMED_UP[: SUMMED_UP.index(failure.condition)]
        open_ones = (k for k in earlier if k not in verdicts or not verdicts[k].is_true)
        place = next(open_ones, failure.condition)
        verdicts[place] = reported
        kept.discard(place)
    return replace(report, verdicts=verdicts, kept=frozenset(kept))


def condition_of(error: Exception) -> Type:
    """Return the condition that a failed read concerns; `Accepted` where that is unknown."""
    about = error.condition if isinstance(error, errors.ClusterError) else ""
    return Type(about) if about else Type.ACCEPTED
