"""When a handshake is due: whenever something that it depends on changed, and at the interval.

Outcomes are kept in memory only to spare plugins from needless calls; after a restart of the
operator each plugin is simply asked once more.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason, Verdict, no, unknown, yes
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome

RETRY_FIRST: Final = timedelta(milliseconds=250)
"""After the first failure: kube-proxy and DNS may be a moment behind a pod that just became
ready."""

UNREACHABLE_GRACE: Final = 3
"""So many failures to connect in a row are put down to that moment: 250 ms, 500 ms, 1 s."""

RETRY_MOST: Final = timedelta(seconds=15)
"""Failures are repeated ever more seldom, up to this."""

Key = tuple[str, str, str]
"""Namespace and name of the resource, and the Secret that was presented."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The last handshake of a plugin."""

    fingerprint: str
    """Of everything the handshake depends on: endpoint, certificates, pods."""
    outcome: HandshakeOutcome
    behind: tuple[str, ...]
    """Names of the pods that showed another certificate than the newest."""
    at: datetime
    failures: int
    """In a row, with this fingerprint."""

    def due(self, interval: timedelta) -> datetime:
        """When the handshake has to be repeated."""
        if self.outcome.succeeded:
            return self.at + interval
        return self.at + min(RETRY_FIRST * (1 << (self.failures - 1)), RETRY_MOST)

    def verdict(self) -> Verdict:
        """Judge the handshake.

        A connection that fails right after the pod became ready may only be early.
        """
        outcome = self.outcome
        if outcome.succeeded:
            return yes(outcome.reason, outcome.message)
        if outcome.reason is Reason.UNREACHABLE and self.failures <= UNREACHABLE_GRACE:
            return unknown(outcome.reason, outcome.message)
        return no(outcome.reason, outcome.message)


@dataclass(slots=True)
class Proofs:
    """The last handshake of every plugin."""

    _proofs: dict[Key, Proof] = field(default_factory=dict)

    def current(
        self, key: Key, fingerprint: str, interval: timedelta, now: datetime
    ) -> Proof | None:
        """Give the last proof while it still counts."""
        proof = self._proofs.get(key)
        if proof is None or proof.fingerprint != fingerprint or now >= proof.due(interval):
            return None
        return proof

    def note(
        self,
        key: Key,
        fingerprint: str,
        outcome: HandshakeOutcome,
        behind: tuple[str, ...],
        now: datetime,
    ) -> Proof:
        """Keep an outcome, counting failures in a row."""
        before = self._proofs.get(key)
        again = before is not None and before.fingerprint == fingerprint
        failures = 0 if outcome.succeeded else 1 + (before.failures if before and again else 0)
        # 2 ** 16 of the first pause is far beyond the longest one.
        proof = Proof(fingerprint, outcome, behind, now, min(failures, 16))
        self._proofs[key] = proof
        return proof

    def has_failed(self, key: Key) -> bool:
        """Whether the plugin did not answer well when it was last asked."""
        proof = self._proofs.get(key)
        return proof is not None and not proof.outcome.succeeded

    def behind(self, key: Key) -> tuple[str, ...]:
        """Name the pods that had not followed when they were last asked."""
        proof = self._proofs.get(key)
        return proof.behind if proof is not None else ()

    def followed(self, key: Key) -> bool:
        """Whether every pod had the newest certificates when it was last asked."""
        proof = self._proofs.get(key)
        return proof is not None and proof.outcome.succeeded and not proof.behind

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is known of a resource that is gone."""
        for key in [key for key in self._proofs if key[:2] == (namespace, name)]:
            del self._proofs[key]
