"""When a handshake is due: after a change of anything that it depends on, and at the interval.

Outcomes are kept in memory only to avoid needless calls; after a restart of the operator each
plugin is simply called once more.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome

RETRY_FIRST: Final = timedelta(milliseconds=250)
"""Pause after each of the first failures."""

GRACE: Final = 6
"""Consecutive failures to connect that are attributed to kube-proxy and DNS, which may lag behind a
pod that just became ready: kube-proxy changes its rules once a second. A refused connection costs
little, so the pause does not grow meanwhile."""

RETRY_MOST: Final = timedelta(seconds=15)
"""Longest pause between repeated failures."""

Key = tuple[str, str, str]
"""Namespace and name of the resource, and the Secret that was presented."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The last handshake of a plugin."""

    fingerprint: str
    """Digest of everything the handshake depends on: endpoint, certificates, pods."""
    outcome: HandshakeOutcome
    behind: tuple[str, ...]
    """Names of the pods that presented an older certificate."""
    at: datetime
    failures: int
    """Consecutive failures with this fingerprint."""

    def due(self, interval: timedelta) -> datetime:
        """When the handshake has to be repeated."""
        if self.outcome.succeeded:
            return self.at + interval
        return self.at + min(RETRY_FIRST * (1 << max(self.failures - GRACE, 0)), RETRY_MOST)

    def verdict(self) -> Verdict:
        """Judge the handshake.

        A connection may fail only because the pod has just become ready.
        """
        outcome = self.outcome
        if outcome.succeeded:
            return yes(outcome.reason, outcome.message)
        if outcome.reason is Reason.UNREACHABLE and self.failures <= GRACE:
            return unknown(outcome.reason, outcome.message)
        return no(outcome.reason, outcome.message)


@dataclass(slots=True)
class Proofs:
    """The last handshake of every plugin."""

    _proofs: dict[Key, Proof] = field(default_factory=dict)

    def current(
        self, key: Key, fingerprint: str, interval: timedelta, now: datetime
    ) -> Proof | None:
        """Return the last proof while it is valid."""
        proof = self._proofs.get(key)
        if proof is None or proof.fingerprint != fingerprint or now >= proof.due(interval):
            return None
        return proof

    def record(
        self,
        key: Key,
        fingerprint: str,
        outcome: HandshakeOutcome,
        behind: tuple[str, ...],
        now: datetime,
    ) -> Proof:
        """Store an outcome, and count consecutive failures."""
        before = self._proofs.get(key)
        again = before is not None and before.fingerprint == fingerprint
        failures = 0 if outcome.succeeded else 1 + (before.failures if before and again else 0)
        # 2 ** 16 times the first pause is far beyond the longest one.
        proof = Proof(fingerprint, outcome, behind, now, min(failures, GRACE + 16))
        self._proofs[key] = proof
        return proof

    def has_failed(self, key: Key) -> bool:
        """Whether the last handshake with the plugin failed."""
        proof = self._proofs.get(key)
        return proof is not None and not proof.outcome.succeeded

    def behind(self, key: Key) -> tuple[str, ...]:
        """Name the pods that were behind at the last handshake."""
        proof = self._proofs.get(key)
        return proof.behind if proof is not None else ()

    def followed(self, key: Key) -> bool:
        """Whether every pod had the newest certificates at the last handshake."""
        proof = self._proofs.get(key)
        return proof is not None and proof.outcome.succeeded and not proof.behind

    def forget(self, namespace: str, name: str) -> None:
        """Drop the state of a resource that is gone."""
        for key in [key for key in self._proofs if key[:2] == (namespace, name)]:
            del self._proofs[key]
