"""Who leads: the table of steps, and histories in which no two processes ever write."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnpg_plugin_operator.decide.leadership import (
    LONGEST,
    RELEASED,
    Action,
    Candidate,
    LeaseTimes,
    Record,
    Step,
    begin,
    decide_step,
    see,
    win,
    write_record,
    write_release,
)
from tests.support.thorough import examples

ME, OTHER = "me_1", "other_2"
TIMES = LeaseTimes()
SAID = Record(OTHER, 15.0, renewed="then", acquired="then", version="7")
OWN = replace(SAID, holder=ME)
FREE = write_release(SAID, "later")
EMPTIED = replace(SAID, holder="")
NEW = Candidate(ME)
LEADER = win(begin(see(NEW, FREE, 100.0), 100.0), OWN, 100.5)
CLAIM = win(begin(see(NEW, None, 100.0), 100.0), replace(OWN, acquired=""), 101.0)

STANDBYS = {
    "a Lease that does not exist": (see(NEW, None, 100.0), 100.0, Step(Action.CREATE)),
    "a Lease that was released": (see(NEW, FREE, 100.0), 100.0, Step(Action.TAKE)),
    "a Lease of the same pod": (see(NEW, OWN, 100.0), 100.0, Step(Action.TAKE)),
    "a Lease of another pod": (see(NEW, SAID, 100.0), 114.9, Step(Action.WAIT, 115.0)),
    "a Lease that is not renewed": (see(NEW, SAID, 100.0), 115.0, Step(Action.TAKE)),
    "the same content under another version": (
        see(see(NEW, SAID, 100.0), replace(SAID, version="8"), 110.0),
        115.0,
        Step(Action.TAKE),
    ),
    "a Lease that is renewed": (
        see(see(NEW, SAID, 100.0), replace(SAID, renewed="now"), 110.0),
        115.0,
        Step(Action.WAIT, 125.0),
    ),
    "a longer Lease": (
        see(NEW, replace(SAID, duration=60.0), 100.0),
        115.0,
        Step(Action.WAIT, 160.0),
    ),
    "a Lease that claims years": (
        see(NEW, replace(SAID, duration=1e9), 100.0),
        115.0,
        Step(Action.WAIT, 100.0 + LONGEST),
    ),
    "a Lease that says no duration": (
        see(NEW, replace(SAID, duration=0.0), 100.0),
        114.0,
        Step(Action.WAIT, 115.0),
    ),
    "a Lease that was deleted": (
        see(see(NEW, SAID, 100.0), None, 110.0),
        120.0,
        Step(Action.WAIT, 125.0),
    ),
    "a Lease that was deleted long ago": (
        see(see(NEW, SAID, 100.0), None, 110.0),
        125.0,
        Step(Action.CREATE),
    ),
    "a Lease that another party has emptied": (
        see(see(NEW, SAID, 100.0), EMPTIED, 110.0),
        120.0,
        Step(Action.WAIT, 125.0),
    ),
    "a released Lease that was deleted": (
        see(see(NEW, FREE, 100.0), None, 110.0),
        120.0,
        Step(Action.WAIT, 125.0),
    ),
    "a claim of the same pod": (
        see(NEW, replace(OWN, acquired=""), 100.0),
        114.0,
        Step(Action.WAIT, 115.0),
    ),
    "an attempt that failed": (
        begin(see(NEW, FREE, 100.0), 100.0),
        101.0,
        Step(Action.WAIT, 102.0),
    ),
}


@pytest.mark.parametrize(("candidate", "now", "step"), STANDBYS.values(), ids=STANDBYS)
def test_a_standby_sees(candidate: Candidate, now: float, step: Step) -> None:
    assert decide_step(candidate, now) == step


LEADERS = {
    "a fresh Lease": (LEADER, 101.0, Step(Action.WAIT, 104.0)),
    "a Lease that is due": (LEADER, 104.0, Step(Action.RENEW)),
    "an attempt that failed": (begin(LEADER, 104.0), 105.0, Step(Action.WAIT, 106.0)),
    "too little time for three attempts": (
        replace(LEADER, times=LeaseTimes(renew_deadline=timedelta(seconds=5))),
        101.0,
        Step(Action.WAIT, 102.0),
    ),
    "failures until the deadline": (begin(LEADER, 109.0), 109.5, Step(Action.WAIT, 110.0)),
    "a deleted Lease": (see(LEADER, None, 101.0), 101.0, Step(Action.CREATE)),
    "an emptied Lease": (see(LEADER, EMPTIED, 101.0), 101.0, Step(Action.RENEW)),
    "an emptied Lease that was just written": (
        see(LEADER, EMPTIED, 100.1),
        100.2,
        Step(Action.WAIT, 100.5),
    ),
    "another holder": (
        see(LEADER, SAID, 101.0),
        101.0,
        Step(Action.STOP, why="other_2 has taken the Lease"),
    ),
    "the renew deadline": (
        LEADER,
        110.0,
        Step(Action.STOP, why="the Lease was renewed 10.0 s ago for the last time"),
    ),
    "a pause": (
        LEADER,
        160.0,
        Step(Action.STOP, why="the Lease was renewed 60.0 s ago for the last time"),
    ),
}


@pytest.mark.parametrize(("candidate", "now", "step"), LEADERS.values(), ids=LEADERS)
def test_a_leader_sees(candidate: Candidate, now: float, step: Step) -> None:
    assert decide_step(candidate, now) == step


def renewed(claim: Candidate, *moments: float) -> Candidate:
    """A claim after renewals at these moments, each answered at once."""
    for moment in moments:
        claim = win(begin(claim, moment), replace(OWN, version=str(moment)), moment)
    return claim


CLAIMS = {
    "that is new": (CLAIM, False),
    "that is renewed": (renewed(CLAIM, 106.0, 115.9), False),
    "after the duration since the answer": (renewed(CLAIM, 106.0, 116.0), True),
    "that may have been interrupted": (renewed(see(CLAIM, OWN, 110.0), 124.9), False),
    "long after that": (renewed(see(CLAIM, OWN, 110.0), 125.0), True),
    "that was deleted": (renewed(see(CLAIM, None, 110.0), 112.0, 126.9), False),
    "long after it was created again": (renewed(see(CLAIM, None, 110.0), 112.0, 127.0), True),
}


@pytest.mark.parametrize(("claim", "leads"), CLAIMS.values(), ids=CLAIMS)
def test_who_created_the_lease_leads_once_no_other_process_can(
    claim: Candidate, leads: object
) -> None:
    assert (claim.claimed is None) is leads


def test_a_leader_that_creates_a_deleted_lease_again_goes_on() -> None:
    assert renewed(see(LEADER, None, 101.0), 101.0).claimed is None


def test_a_renewal_keeps_when_the_lease_was_acquired() -> None:
    renewal = write_record(LEADER, "now")
    assert renewal == Record(ME, 15.0, "now", "then", 0)
    assert renewal.version == "7"


def test_a_change_of_the_holder_is_counted() -> None:
    assert write_record(see(NEW, SAID, 1.0), "now") == Record(ME, 15.0, "now", "now", 1)
    assert write_record(see(NEW, FREE, 1.0), "now") == Record(ME, 15.0, "now", "now", 1)


def test_who_creates_the_lease_says_when_it_acquired_it_only_once_it_leads() -> None:
    assert write_record(see(NEW, None, 1.0), "now") == Record(ME, 15.0, "now", "", 0)
    assert write_record(begin(CLAIM, 115.9), "now") == Record(ME, 15.0, "now", "", 0)
    assert write_record(begin(CLAIM, 116.0), "now") == Record(ME, 15.0, "now", "now", 0)


def test_a_release_names_no_holder() -> None:
    assert write_release(OWN, "now") == Record("", RELEASED, "now", "then", 0)


@dataclass
class Pod:
    """One process of one pod; a restart is another process with the same identity."""

    candidate: Candidate
    ahead: float = 0.0
    """By how much its clock is ahead of the test's."""
    is_paused: bool = False
    waits_for: "Request | None" = None


@dataclass(eq=False)
class Request:
    """A read, or a write that the server refuses if the Lease was written in between."""

    pod: Pod | None
    written: Record | None
    creates: bool = False
    answer: Record | None = None
    is_done: bool = False
    succeeded: bool = False


@dataclass
class Server:
    """The API server's Lease, and what it was before."""

    record: Record | None = None
    version: int = 0
    past: list[Record | None] = field(default_factory=list)

    def store(self, record: Record | None) -> None:
        self.past.append(self.record)
        self.version += 1
        self.record = record and replace(record, version=str(self.version))

    def carry_out(self, request: Request) -> None:
        wanted, live = request.written, self.record
        if wanted is not None:
            request.succeeded = (
                live is None
                if request.creates
                else live is not None and live.version == wanted.version
            )
        if request.succeeded:
            self.store(wanted)
        request.answer, request.is_done = self.record, True


HOUR: Final = 3600.0
PAUSES: Final = (0.1, 0.3, 0.7, 1.0, 2.0, 2.5, 4.0, 8.0, 11.0, 15.0, 60.0)
INTERFERENCE: Final = (
    None,
    Record(),
    Record("", 15.0),
    Record("stranger", 15.0),
    Record("stranger", 1.0),
)


class History:
    """Up to three pods, a Lease that anyone may change, and requests that are late or lost.

    The clocks of pods are up to an hour apart. The times in a Lease are only counted, as if the
    clocks that write them jumped all the time.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now, self.written = 2 * HOUR, 0
        self.server = Server()
        self.requests: list[Request] = []
        self.pods = {n: self.start(n) for n in range(random.randint(1, 3))}
        self.actions = (
            *[self.pass_time] * 6,
            *[self.go_on] * 12,
            *[self.go_on_badly] * 3,
            *[self.carry_out] * 2,
            *[self.answer] * 2,
            *[self.report] * 4,
            self.kill_or_start,
            self.pause_or_wake,
            self.end_in_order,
            self.interfere,
        )

    def start(self, number: int) -> Pod:
        return Pod(Candidate(f"pod-{number}", TIMES), self.random.choice((0.0, HOUR, -HOUR)))

    def clock(self, pod: Pod) -> float:
        return self.now + pod.ahead

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice(self.actions)()
            assert len(self.leaders()) <= 1

    def leaders(self) -> list[Pod]:
        """Those whose last request may still be on its way."""
        return [
            pod
            for pod in self.pods.values()
            if pod.candidate.renewed is not None
            and pod.candidate.claimed is None
            and pod.candidate.renewed > self.clock(pod) - TIMES.lease + 1e-6
        ]

    def any_pod(self) -> Pod | None:
        awake = [pod for pod in self.pods.values() if not pod.is_paused]
        return self.random.choice(awake) if awake else None

    def pass_time(self) -> None:
        self.now += self.random.choice(PAUSES)

    def kill_or_start(self) -> None:
        """A pod that starts has the identity of the one that was killed."""
        number = self.random.randrange(3)
        if self.pods.pop(number, None) is None:
            self.pods[number] = self.start(number)

    def pause_or_wake(self) -> None:
        if self.pods:
            pod = self.random.choice(list(self.pods.values()))
            pod.is_paused = not pod.is_paused

    def go_on(self) -> None:
        """A process takes its next step, and is answered at once."""
        if pod := self.any_pod():
            self.advance(pod)
            while (request := pod.waits_for) is not None:
                if not request.is_done:
                    self.server.carry_out(request)
                self.deliver(request)

    def go_on_badly(self) -> None:
        """Its request is on its way, and nothing is known of an answer."""
        if pod := self.any_pod():
            self.advance(pod)

    def carry_out(self) -> None:
        """A request arrives, perhaps long after its sender has given up or ended."""
        request = self.random.choice(self.requests) if self.requests else None
        if request and not request.is_done:
            self.server.carry_out(request)

    def answer(self) -> None:
        request = self.random.choice(self.requests) if self.requests else None
        is_lost = self.random.random() < 0.5
        if request and is_lost and request.pod and request.pod.waits_for is request:
            request.pod.waits_for = None
        elif request and request.is_done:
            self.deliver(request)

    def advance(self, pod: Pod) -> None:
        if pod.waits_for is not None:
            return
        if not pod.candidate.is_informed:
            self.send(pod, None)
            return
        action = decide_step(pod.candidate, self.clock(pod)).action
        if action is Action.STOP:
            self.pods = {number: each for number, each in self.pods.items() if each is not pod}
        elif action is not Action.WAIT:
            pod.candidate = begin(pod.candidate, self.clock(pod))
            self.written += 1
            written = write_record(pod.candidate, str(self.written))
            self.send(pod, written, creates=action is Action.CREATE)

    def send(self, pod: Pod, written: Record | None, *, creates: bool = False) -> None:
        pod.waits_for = Request(pod, written, creates)
        self.requests.append(pod.waits_for)

    def deliver(self, request: Request) -> None:
        self.requests.remove(request)
        pod = request.pod
        if pod is None or pod.waits_for is not request:
            return
        pod.waits_for = None
        if request.written is None:
            pod.candidate = see(pod.candidate, request.answer, self.clock(pod))
        elif request.succeeded:
            assert request.answer is not None
            pod.candidate = win(pod.candidate, request.answer, self.clock(pod))
        else:
            self.send(pod, None)

    def end_in_order(self) -> None:
        """It has ended its work, releases the Lease, and does not wait for the answer."""
        pod = self.any_pod()
        if pod is None or pod.candidate.renewed is None or pod.candidate.claimed is not None:
            return
        self.pods = {number: each for number, each in self.pods.items() if each is not pod}
        record = pod.candidate.record
        if record is not None and record.holder == pod.candidate.identity:
            self.written += 1
            released = write_release(record, str(self.written))
            self.requests.append(Request(None, released))

    def report(self) -> None:
        """A watch shows the Lease, perhaps late; a leader reads it again instead."""
        pod = self.any_pod()
        if pod is None or not pod.candidate.is_informed:
            return
        shown = self.random.choice([*self.server.past[-3:], self.server.record])
        if pod.candidate.renewed is None:
            pod.candidate = see(pod.candidate, shown, self.clock(pod))
        elif pod.waits_for is None:
            self.send(pod, None)

    def interfere(self) -> None:
        """Someone deletes, empties or takes the Lease."""
        record = self.random.choice(INTERFERENCE)
        self.written += 1
        self.server.store(record and replace(record, renewed=str(self.written)))

    def calm_down(self) -> None:
        """Disturb nothing more."""
        self.requests.clear()
        for pod in self.pods.values():
            pod.is_paused, pod.waits_for = False, None
        for _ in range(200):
            self.now += 0.3
            self.pods = self.pods or {0: self.start(0)}
            self.go_on()
            assert len(self.leaders()) <= 1


@settings(max_examples=examples(1_000))
@given(st.integers(0, 2**64))
def test_no_two_ever_write_and_one_leads_in_the_end(seed: int) -> None:
    history = History(Random(seed))
    history.run(150)
    history.calm_down()
    assert len(history.leaders()) == 1
