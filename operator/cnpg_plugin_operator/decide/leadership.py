"""Which operator process leads: the next step of one process, from what it saw of the Lease.

Only the process that holds the operator's Lease writes; the others are standbys. However
processes are paused or cut off, one has stopped before another takes the Lease. So these rules use
one clock of the process, which also counts while the machine sleeps, and never a time that another
clock wrote:

- A process leads for the duration of the Lease from the *start* of the request that renewed it.
- A standby takes a Lease once it has seen the same content for as long as the Lease says. The
  holder's request began before a standby could see its content, so the holder has stopped by then.
- Each attempt is one request that the API server refuses if the Lease was written in between.

A Lease that another than its holder has emptied says nothing about its holder: a standby gives it
its time. Nor does one that is missing, which anyone may have deleted at any time. So who creates it
has only a claim: it renews the Lease, but leads no sooner than after the duration of a Lease in
which each of its renewals followed on its previous one. No other process could renew the Lease in
between, so none leads any more. That is the price of a first start. A leader sees a deletion at
once and creates the Lease again, or stops if another process was faster. What a process cannot know
is the duration of a Lease that it has never seen: it takes its own for it.

A container that is restarted in the same pod has the identity of its predecessor, which has ended
by then: it takes its own Lease at once, unless that was a claim.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

LONGEST: Final = 300.0
"""Maximum seconds that a holder gets, whatever a Lease says: no operator has a longer duration."""

RELEASED: Final = 1.0
"""Duration in seconds of a released Lease, as client-go writes it; its holder is empty."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The times of the election; all are settings. The defaults are those of Kubernetes."""

    duration: timedelta = timedelta(seconds=15)
    """How long a holder may write after it renewed the Lease, and standbys wait."""
    renew_deadline: timedelta = timedelta(seconds=10)
    """How long a holder tries to renew the Lease before it stops: the rest is for requests that are
    on their way."""
    retry_period: timedelta = timedelta(seconds=2)
    """Time between two attempts while the Lease is not written. The holder renews it in time for
    three of them."""

    def find_fault(self) -> str:
        """Say what is wrong with these times; empty if they work."""
        if self.duration > timedelta(seconds=LONGEST) or self.duration % timedelta(seconds=1):
            return f"the lease duration must be whole seconds, at most {LONGEST:.0f}"
        if self.renew_deadline >= self.duration:
            return "the renew deadline must be shorter than the lease duration"
        if self.retry_period * 2 > self.renew_deadline:
            return "the retry period must be at most half of the renew deadline"
        return ""

    @property
    def lease(self) -> float:
        """The duration in seconds."""
        return self.duration.total_seconds()

    @property
    def deadline(self) -> float:
        """The renew deadline in seconds."""
        return self.renew_deadline.total_seconds()

    @property
    def retry(self) -> float:
        """The retry period in seconds."""
        return self.retry_period.total_seconds()

    @property
    def rest(self) -> float:
        """Seconds after a renewal until the next one."""
        return max(self.deadline - 3 * self.retry, self.retry)


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says."""

    holder: str = ""
    duration: float = 0.0
    """Seconds; 0 where it says none."""
    renewed: str = ""
    """When, by the clock of the holder: only compared."""
    acquired: str = ""
    """The same; empty while the holder has only a claim."""
    transitions: int = 0
    version: str = field(default="", compare=False)
    """The resourceVersion, on which a write depends; a change of a label alone renews nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a process knows. All times are those of its own clock."""

    identity: str
    times: LeaseTimes = LeaseTimes()
    is_informed: bool = False
    """Whether it has seen the Lease, or that there is none."""
    record: Record | None = None
    """What it saw last; None where there is no Lease."""
    due: float = 0.0
    """From when it may take the Lease."""
    renewed: float | None = None
    """Start of the request that renewed the Lease last; None for a standby."""
    attempted: float = float("-inf")
    """Start of the last attempt."""
    claimed: float | None = None
    """From when a process may lead that created the Lease; None if it does, or has none."""


class Action(StrEnum):
    """The next step with the Lease."""

    CREATE = "Create"
    TAKE = "Take"
    RENEW = "Renew"
    WAIT = "Wait"
    STOP = "Stop"
    """Stop to lead: end all work, write nothing more."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a process should do."""

    action: Action
    until: float = 0.0
    """The end of a wait, unless the Lease changes before."""
    why: str = ""


def decide_step(candidate: Candidate, now: float) -> Step:
    """Decide the next step of a process that has seen the Lease."""
    if candidate.renewed is None:
        return _decide_standby(candidate, now)
    return _decide_leader(candidate, candidate.renewed, now)


def _decide_standby(candidate: Candidate, now: float) -> Step:
    begins = max(candidate.due, candidate.attempted + candidate.times.retry)
    if now < begins:
        return Step(Action.WAIT, begins)
    return Step(Action.CREATE if candidate.record is None else Action.TAKE)


def _decide_leader(candidate: Candidate, renewed: float, now: float) -> Step:
    holder = candidate.record.holder if candidate.record is not None else ""
    end = renewed + candidate.times.deadline
    if now >= end:
        seconds = f"{now - renewed:.1f} s"
        return Step(Action.STOP, why=f"the Lease was renewed {seconds} ago for the last time")
    if holder not in ("", candidate.identity):
        return Step(Action.STOP, why=f"{holder} has taken the Lease")
    wanted = Action.CREATE if candidate.record is None else Action.RENEW
    if not holder:
        # A Lease without its holder is written at once, but not again and again.
        pause = min(candidate.times.retry, RELEASED) / 2
    elif candidate.attempted > renewed:
        pause = candidate.times.retry
    else:
        pause = candidate.times.rest
    begins = candidate.attempted + pause
    return Step(wanted) if now >= begins else Step(Action.WAIT, min(begins, end))


def see(candidate: Candidate, record: Record | None, now: float) -> Candidate:
    """Learn what the Lease says now; None where there is none."""
    seen = replace(candidate, is_informed=True, record=record)
    if candidate.claimed is not None:
        # Something else than its own renewals may have happened.
        seen = replace(seen, claimed=now + candidate.times.lease)
    if candidate.is_informed and record == candidate.record:
        return seen
    if record is None and not candidate.is_informed:
        return replace(seen, due=now)
    if record is None or not (record.holder or record.duration == RELEASED):
        # Deleted or emptied: it may have a holder.
        past = _find_time(candidate, candidate.record)
        return replace(seen, due=max(candidate.due, now + past))
    is_own = record.holder == candidate.identity and bool(record.acquired)
    is_free = is_own or not record.holder
    return replace(seen, due=now if is_free else now + _find_time(candidate, record))


def _find_time(candidate: Candidate, record: Record | None) -> float:
    """Return the seconds that the holder of a Lease gets.

    It never gets less than a process of this configuration: the content may be that of a stranger,
    and the one before it may not have seen it yet.
    """
    said = record.duration if record is not None and record.holder else 0.0
    return min(max(said, candidate.times.lease), LONGEST)


def begin(candidate: Candidate, now: float) -> Candidate:
    """Record the start of an attempt."""
    return replace(candidate, attempted=now)


def is_claim(candidate: Candidate) -> bool:
    """Whether the attempt that has begun does not allow to lead yet, if it succeeds."""
    if candidate.claimed is not None:
        return candidate.attempted < candidate.claimed
    return candidate.renewed is None and candidate.record is None


def win(candidate: Candidate, record: Record, answered: float) -> Candidate:
    """Have the Lease since the start of an attempt that succeeded; `record` is the answer."""
    claimed, began = None, candidate.attempted
    if is_claim(candidate):
        creates = candidate.record is None
        claimed = answered + candidate.times.lease if creates else candidate.claimed
    return replace(
        candidate, is_informed=True, record=record, due=began, renewed=began, claimed=claimed
    )


def write_record(candidate: Candidate, written: str) -> Record:
    """Say what an attempt writes; `written` is the time as the Lease shows it to people."""
    before = candidate.record or Record()
    keeps = before.holder == candidate.identity and bool(before.acquired)
    acquired = "" if is_claim(candidate) else written
    return Record(
        holder=candidate.identity,
        duration=candidate.times.lease,
        renewed=written,
        acquired=before.acquired if keeps else acquired,
        transitions=before.transitions + (not keeps and bool(before.acquired)),
        version=before.version,
    )


def write_release(record: Record, written: str) -> Record:
    """Say what a holder writes that has ended all work: anyone may take the Lease at once."""
    return replace(record, holder="", duration=RELEASED, renewed=written)
