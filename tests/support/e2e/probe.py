"""The probe: calls plugins several times a second with CloudNativePG's rules, and reports outages.

It exists because CloudNativePG itself would hide most of them: it keeps connections and repeats
calls. Here every call is made once, on its own connection (`tests.support.e2e.probe_calls`), so
that any moment in which one side does not trust the other is detected. This module starts that
program and reads what it writes.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, Self

from tests.cluster import Cluster
from tests.support import wait
from tests.support.e2e.installation import ROOT
from tests.support.e2e.probe_calls import CALL_SECONDS, Call
from tests.support.resources import NAMESPACE

INTERVAL: Final = 0.25
"""Seconds between two calls of one plugin: four a second, as in the measurements that the
renewal was designed after."""

_STOPPING_SECONDS = CALL_SECONDS + 15


@dataclass(frozen=True)
class Calls:
    """The calls of one plugin in a period of time, in their order."""

    service: str
    calls: Sequence[Call]

    @property
    def failed(self) -> list[Call]:
        """Those that failed."""
        return [call for call in self.calls if not call.ok]

    @property
    def longest_outage(self) -> float:
        """Seconds from a first failure to the next success, or to the last call there is."""
        longest, since = 0.0, None
        for call in self.calls:
            if not call.ok and since is None:
                since = call.t
            if since is not None:
                longest = max(longest, call.t - since)
            if call.ok:
                since = None
        return longest

    @property
    def longest_silence(self) -> float:
        """Seconds of the longest time without an answer: calls may hang through an outage."""
        answers = sorted(call.t + call.ms / 1000 for call in self.calls if call.ok)
        return max((after - before for before, after in pairwise(answers)), default=0.0)

    @property
    def seconds(self) -> float:
        """The time between the first and the last call."""
        return self.calls[-1].t - self.calls[0].t if self.calls else 0.0

    @property
    def clients(self) -> int:
        """How many different client certificates were accepted."""
        return len({call.client for call in self.calls if call.ok})

    def __str__(self) -> str:
        slowest = max((call.ms for call in self.calls), default=0.0)
        summary = (
            f"{self.service}: {len(self.calls)} calls in {self.seconds:.1f} s, "
            f"{len(self.failed)} failed, longest outage {self.longest_outage:.2f} s, "
            f"longest time without an answer {self.longest_silence:.2f} s, "
            f"{self.clients} client certificates, slowest call {slowest:.0f} ms, "
            f"{sum(len(call.overtaken) for call in self.calls)} overtaken by a change"
        )
        return "\n".join([summary, *self._failures()])

    def _failures(self) -> Iterator[str]:
        """For each series of failures of one kind: their start, duration and cause."""
        begin = self.calls[0].t if self.calls else 0.0
        for (reason, message), run in groupby(self.calls, lambda call: (call.reason, call.message)):
            calls = list(run)
            if not calls[0].ok:
                times = " ".join(f"+{call.t - begin:.2f}" for call in calls)
                slowest = max(call.ms for call in calls)
                yield (
                    f"  {len(calls)} failed from {_clock(calls[0].t)} on, began at {times} s, "
                    f"took up to {slowest:.0f} ms: {reason}: {message}"
                )
                previous = dict.fromkeys(text for call in calls for text in call.overtaken)
                yield from (f"    overtaken before, after {text}" for text in previous)


def _clock(moment: float) -> str:
    """The time of day at a moment of monotonic time, to find it in logs."""
    at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - moment)
    return at.strftime("%H:%M:%S.%f")[:-3]


@dataclass
class Probe:
    """Calls from `start` to `stop`."""

    cluster: Cluster
    directory: Path
    """The file with its output."""
    services: Sequence[str]
    interval: float = INTERVAL
    _process: subprocess.Popen[bytes] | None = None
    _calls: list[Call] = field(default_factory=list)
    _read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _output(self) -> Path:
        return self.directory / "calls.jsonl"

    def start(self) -> None:
        """Start, and return when every plugin has been called once."""
        argv = [
            *(sys.executable, "-m", "tests.support.e2e.probe_calls"),
            *("--credentials", str(self.cluster.layout.pki)),
            *("--namespace", NAMESPACE),
            *("--interval", str(self.interval)),
            *("--output", str(self._output)),
            *self.services,
        ]
        self._process = subprocess.Popen(
            self.cluster.in_namespace(argv),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"},
        )
        wait.until(
            "the probe has called every plugin",
            lambda: {call.service for call in self._all()} >= set(self.services),
            within=30,
        )

    def stop(self) -> None:
        """Stop, once the last calls have ended, so that none of them is lost."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=_STOPPING_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def calls(self, service: str, since: float = 0.0, until: float | None = None) -> Calls:
        """The calls of a plugin that started between two moments and have ended by now."""
        end = time.monotonic() if until is None else until
        chosen = (c for c in self._all() if c.service == service and since <= c.t <= end)
        return Calls(service, sorted(chosen, key=lambda call: call.t))

    def until_answered(self, *services: str, calls: int = 8, within: float = 60) -> float:
        """Wait until each plugin has answered so many calls in a row from now on."""
        now = time.monotonic()

        def answered() -> bool:
            last = [self.calls(service, now).calls[-calls:] for service in services]
            return all(len(some) == calls and all(c.ok for c in some) for some in last)

        wait.until(
            f"{', '.join(services)} answer {calls} calls in a row",
            answered,
            within=within,
            explain=lambda: "\n".join(str(self.calls(service, now)) for service in services),
        )
        return time.monotonic()

    def _all(self) -> list[Call]:
        if self._process is not None and self._process.poll() not in (None, 0):
            raise AssertionError(f"the probe ended by itself ({self._process.returncode})")
        with self._lock:
            if self._output.exists():
                with self._output.open("rb") as file:
                    file.seek(self._read)
                    for line in file:
                        if line.endswith(b"\n"):
                            self._calls.append(Call(**json.loads(line)))
                            self._read += len(line)
            return list(self._calls)
