"""When a failed handshake is repeated, and what is said meanwhile."""

from datetime import UTC, datetime, timedelta

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.reconcile.handshake.schedule import Proof, Proofs

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
KEY = ("cnpg-system", "p", "p-client-tls")

REFUSED = HandshakeOutcome(Reason.UNREACHABLE, "refused")
MISTAKEN = HandshakeOutcome(Reason.TLS_REJECTED, "not a certificate for p")


def repeated(outcome: HandshakeOutcome, times: int, proofs: Proofs) -> list[Proof]:
    return [proofs.record(KEY, "same", outcome, (), NOW) for _ in range(times)]


def pauses(proofs: list[Proof]) -> list[float]:
    return [(proof.due(INTERVAL) - NOW).total_seconds() for proof in proofs]


def test_a_handshake_is_repeated_soon_while_kube_proxy_may_lag_then_ever_more_rarely() -> None:
    found = pauses(repeated(REFUSED, 30, Proofs()))

    assert found[:6] == [0.25] * 6
    assert found[6:13] == [0.5, 1, 2, 4, 8, 15, 15]
    assert set(found[13:]) == {15}


def test_a_connection_may_fail_as_long_as_kube_proxy_may_lag() -> None:
    said = [proof.verdict().status for proof in repeated(REFUSED, 8, Proofs())]

    assert said == [Status.UNKNOWN] * 6 + [Status.FALSE] * 2


def test_an_answer_that_is_wrong_is_reported_at_once() -> None:
    (first,) = repeated(MISTAKEN, 1, Proofs())

    assert (first.verdict().status, first.verdict().reason) == (Status.FALSE, Reason.TLS_REJECTED)


def test_other_certificates_or_pods_begin_the_count_again() -> None:
    proofs = Proofs()
    repeated(REFUSED, 20, proofs)

    assert pauses([proofs.record(KEY, "other", REFUSED, (), NOW)]) == [0.25]
