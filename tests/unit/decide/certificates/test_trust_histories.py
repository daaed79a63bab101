"""Whom both sides trust in any history of renewals and switches: none is dropped too early."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.decide.certificates.trust import OVERLAP, TrustInput, decide_trust
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts, Trust
from tests.support.unit.builders import NOW, certificate, pair

DAY = timedelta(days=1)
YEARS = 3650 * DAY

ROOT = certificate("root", ca=True, until=YEARS)
RENEWED_ROOT = certificate("root", ca=True, until=YEARS, number=2)
SUB = certificate("sub", "root", ca=True, until=YEARS)
RENEWED_SUB = certificate("sub", "root", ca=True, until=YEARS, number=2)
OTHER = certificate("other", ca=True, until=YEARS)


def verifies(pool: Iterable[CertificateFacts], shown: PairFacts, now: datetime) -> bool:
    """Whether a pool accepts a chain: Go's rules, in which any certificate of a pool is a root."""
    roots = [c for c in pool if c.not_before <= now <= c.not_after]
    leaf, *between = shown.chain
    if any(root.fingerprint == leaf.fingerprint for root in roots):
        return True
    wanted, names = {leaf.issuer_der}, {root.subject_der for root in roots if root.is_ca}
    for certificate_between in between:
        if certificate_between.subject_der in wanted and now <= certificate_between.not_after:
            wanted.add(certificate_between.issuer_der)
    return bool(wanted & names)


def lasting(minutes: int, *names: str, number: int = 1, ca: bool = False) -> CertificateFacts:
    until = timedelta(minutes=minutes)
    return certificate(*names, since=-DAY, until=until, number=number, ca=ca)


SHOWN = (
    pair(lasting(45, "a")),
    pair(lasting(600, "b")),
    pair(lasting(600, "a", number=2), authorities=(OTHER,)),
    pair(lasting(30, "c", "sub"), SUB, authorities=(ROOT,)),
    pair(lasting(600, "c", "sub"), SUB, authorities=(ROOT, OTHER)),
    pair(
        lasting(600, "c", "sub", number=2),
        RENEWED_SUB,
        authorities=(RENEWED_ROOT, lasting(60, "root", ca=True)),
    ),
    pair(lasting(600, "d", "short"), lasting(90, "short", ca=True)),
)
PAIRS = st.integers(0, len(SHOWN) - 1)
STEP = st.tuples(st.integers(0, 15), PAIRS, PAIRS, st.booleans(), st.booleans())


@dataclass
class History:
    """What was presented until when, and who is trusted."""

    keeps_root: bool
    server: PairFacts = SHOWN[1]
    announced: PairFacts = SHOWN[1]
    """What CloudNativePG presents."""
    now: datetime = NOW
    trust: Trust | None = None
    servers: dict[str, tuple[PairFacts, datetime]] = field(default_factory=dict)
    clients: dict[str, tuple[PairFacts, datetime]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._decide(self.announced, settled=False)

    def go_on(
        self, minutes: int, server: PairFacts, client: PairFacts, *, follows: bool, settled: bool
    ) -> None:
        """Let time pass, then change what is presented, then decide."""
        self.now += timedelta(minutes=minutes)
        self._record()
        self.server = server if self._lives(server) else self.server
        if not self._lives(self.server):
            # A pass ends at the expired pair: nothing is announced or decided any more.
            return
        client = client if self._lives(client) else self.announced
        self.announced = client if follows or not self._lives(self.announced) else self.announced
        self._record()
        self._decide(client, settled=settled)

    def _decide(self, client: PairFacts, *, settled: bool) -> None:
        in_use = None if self.announced is client else self.announced
        given = TrustInput(
            server=self.server,
            client=client,
            in_use=in_use,
            client_trust=ClientTrust.CHAIN,
            keeps_root=self.keeps_root,
            one_issuer=True,
            signers=(ROOT,),
            live=self.trust,
            settled=settled and in_use is None,
            now=self.now,
        )
        self.trust = decide_trust(given)
        assert decide_trust(replace(given, live=self.trust)) is self.trust
        self._check(self.trust)

    def _lives(self, shown: PairFacts) -> bool:
        return all(c.not_after >= self.now for c in shown.chain)

    def _record(self) -> None:
        self.servers[self.server.fingerprint] = (self.server, self.now)
        self.clients[self.announced.fingerprint] = (self.announced, self.now)

    def _check(self, trust: Trust) -> None:
        for pool, presented in ((trust.servers, self.servers), (trust.clients, self.clients)):
            assert pool
            assert all(certificate.not_after >= self.now for certificate in pool)
            for shown, until in presented.values():
                recent = self.now - until < OVERLAP
                if recent and self._lives(shown):
                    assert verifies(pool, shown, self.now), shown


@given(st.lists(STEP, max_size=12), st.booleans())
def test_in_any_history_recent_certificates_are_trusted_and_expired_ones_are_not(
    steps: list[tuple[int, int, int, bool, bool]],
    keeps_root: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    history = History(keeps_root)
    for minutes, server, client, follows, settled in steps:
        history.go_on(minutes, SHOWN[server], SHOWN[client], follows=follows, settled=settled)
