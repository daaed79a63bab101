"""Judges a soak: samples, calls and requests become figures beside their budgets. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from tests.bench.figures import Budget, Series, Sheet, fit_slope
from tests.soak.plan import Act, Disturbance

HOUR: Final = 3600.0
WARM_UP: Final = 600.0
"""Seconds after the start of a process that count for no slope."""
GRACE: Final = 10.0
"""Seconds after a disturbance: kube-proxy learns of a pod later than the operator."""

TABLE: Final = {
    "growth of RSS": Budget("MB/h", 1),
    "growth of anonymous memory": Budget("MB/h", 1),
    "growth of descriptors": Budget("", 1),
    "growth of tasks": Budget("", 1),
    "RSS": Budget("MB", 140),
    "CPU": Budget("%"),
    "restarts of the operator": Budget("", 0),
    "calls": Budget(""),
    "failed calls": Budget(""),
    "failed calls that nothing allows": Budget("", 0),
    "disturbances": Budget(""),
    "plugins late after a disturbance": Budget("", 0),
    "plugins not Ready in the end": Budget("", 0),
    "rollouts of CloudNativePG": Budget("", 0),
    "requests": Budget("/h"),
    "writes": Budget("/h"),
    "Events": Budget("/h", 600),
    "log lines": Budget("/h", 1200),
    "warnings and errors": Budget("/h"),
}
"""The rates are those of a person who reads along: with a disturbance or a renewal every ten
seconds, an Event every six, and a line every three."""

AWAY: Final = frozenset({"Unreachable", "NoAnswer"})
UNANNOUNCED: Final = frozenset({"NotAnnounced"})
UNREAD: Final = frozenset({"NotRead"})
ALLOWED: Final = {
    Act.KILL: AWAY,
    Act.ROLL: AWAY,
    Act.RECREATE: AWAY | UNANNOUNCED,
    Act.BLIP: UNREAD,
}
"""Why a call may fail meanwhile. Nothing allows that one side does not trust the other."""


@dataclass(frozen=True)
class Sample:
    """The operator's process at one moment."""

    at: float
    """Monotonic seconds."""
    life: int
    """Counts its processes."""
    resident: float
    anonymous: float
    descriptors: int
    tasks: int
    cpu: float
    """Seconds since its start."""


@dataclass(frozen=True)
class Disturbed:
    """A disturbance that has happened."""

    what: Disturbance
    began: float
    ended: float
    """When all plugins concerned were Ready again."""
    fault: str = ""
    """Why they were not."""

    def allows(self, call: "Call") -> bool:
        """Whether it explains that a call failed."""
        subject, act = self.what.plugin, self.what.act
        concerns = subject is None or subject.name == call.service
        rolls = act is Act.ROLL and subject is not None and subject.kind.overlaps
        allowed = frozenset() if rolls else ALLOWED.get(act, frozenset())
        meanwhile = call.t <= self.ended + GRACE and call.t + call.ms / 1000 >= self.began
        return concerns and meanwhile and reason_of(call) in allowed


class Call(Protocol):
    """A call of the probe."""

    @property
    def t(self) -> float: ...
    @property
    def service(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def ms(self) -> float: ...
    @property
    def closed(self) -> bool: ...


def reason_of(call: Call) -> str:
    """Why a call failed; a process that ends closes the connection, without trust it says so."""
    return "NoAnswer" if call.closed else call.reason


def find_faults(calls: Iterable[Call], disturbed: Sequence[Disturbed]) -> list[Call]:
    """Find the failed calls that nothing explains.

    A plugin that is away for a reason may stay away until its next answer: after the API server was
    away, Kubernetes' EndpointSlice controller was seen to publish a new pod only 30 s later (1.34).
    """
    faults, away = [], set[str]()
    for call in sorted(calls, key=lambda call: call.t):
        absent = not call.ok and reason_of(call) in AWAY
        explained = any(each.allows(call) for each in disturbed)
        explained = explained or (absent and call.service in away)
        if not call.ok and not explained:
            faults.append(call)
        if absent and explained:
            away.add(call.service)
        else:
            away.discard(call.service)
    return faults


def judge_samples(sheet: Sheet, samples: Sequence[Sample]) -> None:
    """Judge the process that lived longest, after it has warmed up."""
    lives = [list(life) for _, life in groupby(samples, lambda sample: sample.life)]
    life = max(lives, key=lambda life: life[-1].at - life[0].at)
    settled = [sample for sample in life if sample.at >= life[0].at + WARM_UP] or life
    hours = (settled[-1].at - settled[0].at) / HOUR
    for name, values in (
        ("growth of RSS", [sample.resident for sample in settled]),
        ("growth of anonymous memory", [sample.anonymous for sample in settled]),
    ):
        times = [sample.at / HOUR for sample in settled]
        slope = fit_slope(zip(times, values, strict=True))
        ends = f"{values[0]:.1f} to {values[-1]:.1f} in {hours:.2f} h"
        sheet.put(name, slope.value, f"± {slope.error:.2f}, {ends}")
    for name, counts in (
        ("growth of descriptors", [sample.descriptors for sample in settled]),
        ("growth of tasks", [sample.tasks for sample in settled]),
    ):
        ends = f"{counts[0]} to {counts[-1]}, at most {max(counts)}"
        sheet.put(name, Series.of(map(float, counts)).growth, ends)
    sheet.put("RSS", max(sample.resident for sample in samples))
    sheet.put("restarts of the operator", len(lives) - 1)
    spent, seconds = life[-1].cpu - life[0].cpu, life[-1].at - life[0].at
    sheet.put("CPU", 100 * spent / seconds if seconds else 0.0)


def judge_calls(sheet: Sheet, calls: Iterable[Call], disturbed: Sequence[Disturbed]) -> None:
    """Judge the calls of the probe: each that failed needs a disturbance that allows it."""
    made = list(calls)
    failed = [call for call in made if not call.ok]
    faults = find_faults(made, disturbed)
    sheet.put("calls", len(made))
    sheet.put("failed calls", len(failed), _counted(call.reason for call in failed))
    reasons = [call.reason for call in faults]
    sheet.put("failed calls that nothing allows", len(faults), _counted(reasons))
    # Those of the rarest reasons first: they tell most, and not all are listed.
    numbers = Counter(reasons)
    faults.sort(key=lambda call: numbers[call.reason])
    begun = min((call.t for call in made), default=0.0)
    sheet.lines.extend(
        f"+{call.t - begun:.0f} s {call.service}: {call.reason}: {call.message}"
        for call in faults[:20]
    )


def judge_disturbances(sheet: Sheet, disturbed: Sequence[Disturbed]) -> None:
    """Say what happened, and which plugins it kept from being Ready."""
    faults = [each.fault for each in disturbed if each.fault]
    sheet.put("disturbances", len(disturbed), _counted(each.what.act for each in disturbed))
    sheet.put("plugins late after a disturbance", len(faults))
    sheet.lines.extend(faults)


def judge_rates(
    sheet: Sheet,
    hours: float,
    *,
    requests: int,
    writes: Sequence[str],
    log: Sequence[tuple[str, str]],
) -> None:
    """Judge what the operator did: its writes by their subject, its log by level and message."""
    kinds = [subject.partition("/")[0] for subject in writes]
    loud = [message for level, message in log if level in ("warning", "error", "critical")]
    sheet.put("requests", requests / hours)
    sheet.put("writes", len(writes) / hours, _counted(kinds))
    sheet.put("Events", kinds.count("events") / hours)
    sheet.put("log lines", len(log) / hours)
    sheet.put("warnings and errors", len(loud) / hours)
    common = Counter(f"{level}: {message[:90]}" for level, message in log).most_common(8)
    sheet.lines.extend(f"{number} lines {text}" for text, number in common)


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{number} {word}" for word, number in Counter(words).most_common())
