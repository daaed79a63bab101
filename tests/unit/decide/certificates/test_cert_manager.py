import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.certificates.cert_manager import decide_issuing
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts, IssuingFacts, RequestFacts
from tests.support.unit.builders import NOW, ago

READY = RequestFacts("hello-client-tls", True, False, ago(60), "up to date", None)
YOUNG = RequestFacts("hello-server-tls", False, False, ago(3), "Issuing", None)
OLD = RequestFacts("hello-server-tls", False, False, ago(30), "waiting for approval", None)
FAILED = RequestFacts("hello-server-tls", False, True, ago(30), "denied", None)
GONE = IssuerFacts("Issuer own", exists=False, ready=False, message="")
SICK = IssuerFacts("ClusterIssuer own", exists=True, ready=False, message="no such Secret")


@pytest.mark.parametrize(
    ("facts", "status", "reason", "words"),
    [
        pytest.param(
            IssuingFacts(False, None, ()), Status.FALSE, Reason.CERT_MANAGER_NOT_INSTALLED,
            "Install cert-manager", id="cert-manager is not installed",
        ),
        pytest.param(
            IssuingFacts(True, GONE, (YOUNG,)), Status.FALSE, Reason.ISSUER_NOT_READY,
            "Issuer own does not exist", id="the issuer does not exist",
        ),
        pytest.param(
            IssuingFacts(True, SICK, (YOUNG,)), Status.FALSE, Reason.ISSUER_NOT_READY,
            "no such Secret", id="the issuer says why it is not ready",
        ),
        pytest.param(
            IssuingFacts(True, None, (READY, FAILED)), Status.FALSE, Reason.ISSUING_FAILED,
            "denied", id="an attempt failed",
        ),
        pytest.param(
            IssuingFacts(True, None, (READY, OLD)), Status.UNKNOWN, Reason.ISSUING,
            "waiting for approval", id="issuing takes long: cert-manager's words are shown",
        ),
        pytest.param(
            IssuingFacts(True, None, (READY, YOUNG)), Status.UNKNOWN, Reason.ISSUING,
            "hello-server-tls.", id="issuing has just begun",
        ),
    ],
)  # fmt: skip
def test_the_message_says_what_certificates_wait_for(
    facts: IssuingFacts, status: Status, reason: Reason, words: str
) -> None:
    verdict = decide_issuing(facts, NOW)

    assert verdict is not None
    assert (verdict.status, verdict.reason) == (status, reason)
    assert words in verdict.message


def test_nothing_is_pending_once_cert_manager_is_done() -> None:
    assert decide_issuing(IssuingFacts(True, None, (READY,)), NOW) is None
