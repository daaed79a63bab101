"""When the operator issues a certificate again: every reason, and none without one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.decide.certificates.renewal import (
    BACKDATE,
    PROPAGATION,
    RenewalInput,
    decide_renewal,
    renewal_time,
)
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts
from tests.support.unit.builders import NOW, certificate, pair

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)
YEARS = 3650 * DAY

ISSUER = certificate("sub", "root", ca=True, until=YEARS)
RENEWED_ISSUER = replace(ISSUER, fingerprint="renewed sub")
OTHER_ISSUER = certificate("elsewhere", ca=True, until=YEARS)
ROOT = certificate("root", ca=True, until=YEARS)
SHORT_ISSUER = replace(ISSUER, not_after=NOW + 30 * DAY)


def leaf(age: timedelta = DAY, lifetime: timedelta = 90 * DAY, **facts: Any) -> CertificateFacts:
    """A certificate that the operator issued some time ago."""
    since, until = -age - BACKDATE, lifetime - age
    return certificate("hello", "sub", since=since, until=until, dns_names=("hello",), **facts)


def holding(certificate: CertificateFacts, **facts: Any) -> dict[str, Any]:
    return {"pair": pair(certificate, ISSUER, **facts)}


GOOD = RenewalInput(
    pair=pair(leaf(), ISSUER),
    issuer=ISSUER,
    lifetime=90 * DAY,
    renew_before=None,
    requested_at=None,
    now=NOW,
    key_type="ECDSA P-256",
    dns_names=frozenset({"hello"}),
)
THIRD = renewal_time(leaf(), None)
UNSETTLED = {"issuer_settled": False}

FINE: list[tuple[str, dict[str, Any]]] = [
    ("as it is wanted", {}),
    ("a second before its renewal", {"now": THIRD - SECOND}),
    ("a second before a renewal of the user's choice",
     {"renew_before": 10 * DAY, "now": leaf().not_after - 10 * DAY - SECOND}),
    ("with names that are wanted no longer", {"dns_names": frozenset()}),
    ("with any key where none is wanted", {"key_type": "", **holding(leaf(key_type="RSA 2048"))}),
    ("without an issuer", {"issuer": None, "pair": pair(leaf())}),
    ("whose issuer is only in ca.crt", {"pair": pair(leaf(), authorities=(ISSUER,))}),
    ("with one of its roots",
     {"roots": frozenset({ROOT.fingerprint, "next"}), **holding(leaf(), authorities=(ROOT,))}),
    ("without its root, of an issuer that is not trusted yet",
     {"roots": frozenset({"root"}), **UNSETTLED}),
    ("that was issued at the time of a request", {"requested_at": NOW - DAY}),
    ("that was issued after a request", {"requested_at": NOW - 2 * DAY}),
    ("that is requested for tomorrow", {"requested_at": NOW + SECOND}),
    ("cut short by its issuer",
     {"issuer": SHORT_ISSUER, "pair": pair(leaf(lifetime=31 * DAY), SHORT_ISSUER)}),
    ("of a renewed issuer that is not trusted yet", {"issuer": RENEWED_ISSUER, **UNSETTLED}),
    ("of a previous issuer while the present one is not trusted yet",
     {"issuer": OTHER_ISSUER, **UNSETTLED}),
    ("due, of an issuer that is not trusted yet", {"now": THIRD, **UNSETTLED}),
    ("requested, of an issuer that is not trusted yet", {"requested_at": NOW, **UNSETTLED}),
    ("of another key, of an issuer that is not trusted yet",
     {"key_type": "RSA 2048", **UNSETTLED}),
    ("of another lifetime, of an issuer that is not trusted yet",
     {"lifetime": 30 * DAY, **UNSETTLED}),
    ("a second before the last moment",
     {"now": leaf().not_after - 10 * PROPAGATION - SECOND, **UNSETTLED}),
]  # fmt: skip


@pytest.mark.parametrize("changes", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_nothing_is_issued_for_a_certificate(changes: dict[str, Any]) -> None:
    assert decide_renewal(replace(GOOD, **changes)) is None


DUE: list[tuple[str, dict[str, Any], str]] = [
    ("there is none", {"pair": PairFacts("server")}, "it does not exist"),
    ("its Secret is empty", {"pair": PairFacts("server", exists=True)}, "its key does not belong"),
    ("its Secret cannot be read",
     {"pair": PairFacts("server", exists=True, problem="tls.key is missing or empty")},
     "tls.key is missing or empty"),
    ("its key is another's", {"pair": pair(leaf(), ISSUER, key_matches=False)},
     "its key does not belong to it"),
    ("a third of its life is left", {"now": THIRD},
     f"it expires at {leaf().not_after:%Y-%m-%dT%H}"),
    ("it has expired", {"now": leaf().not_after + DAY}, "it expires at"),
    ("the user's time has come",
     {"renew_before": 10 * DAY, "now": leaf().not_after - 10 * DAY}, "it expires at"),
    ("it is requested now", {"requested_at": NOW}, "a renewal was requested"),
    ("it was requested since", {"requested_at": NOW - DAY + SECOND}, "a renewal was requested"),
    ("its issuer is another", {"issuer": OTHER_ISSUER}, "its authority has changed"),
    ("its issuer was renewed", {"issuer": RENEWED_ISSUER}, "its authority has changed"),
    ("its issuer is not beside it", {"pair": pair(leaf())}, "its authority has changed"),
    ("it lacks a name", {"dns_names": frozenset({"hello", "b", "c"})}, "it lacks the name b"),
    ("it lacks a name, whatever the issuer", {"dns_names": frozenset({"b"}), **UNSETTLED},
     "it lacks the name b"),
    ("another key is wanted", {"key_type": "RSA 2048"}, "its key is ECDSA P-256"),
    ("its root was lost", {"roots": frozenset({"root"})}, "its ca.crt lacks the root"),
    ("its ca.crt has another root",
     {"roots": frozenset({"root"}), **holding(leaf(), authorities=(OTHER_ISSUER,))},
     "its ca.crt lacks the root"),
    ("a shorter life is wanted", {"lifetime": 30 * DAY}, "its duration has changed"),
    ("a longer life is wanted", {"lifetime": 91 * DAY}, "its duration has changed"),
    ("the operator did not issue it", holding(leaf(lifetime=90 * DAY - BACKDATE)),
     "its duration has changed"),
    ("it cannot wait longer for its issuer",
     {"now": leaf().not_after - 10 * PROPAGATION, **UNSETTLED}, "it expires at"),
    ("its issuer can last longer now",
     {"issuer": replace(SHORT_ISSUER, fingerprint="renewed", not_after=NOW + YEARS),
      "pair": pair(leaf(lifetime=31 * DAY), SHORT_ISSUER)},
     "its authority has changed"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), [row[1:] for row in DUE], ids=[row[0] for row in DUE])
def test_a_certificate_is_issued_again_where(changes: dict[str, Any], why: str) -> None:
    found = decide_renewal(replace(GOOD, **changes))

    assert found is not None
    assert found.startswith(why)


def test_only_the_first_reason_is_reported() -> None:
    given = replace(GOOD, now=THIRD, requested_at=THIRD, key_type="RSA 2048", lifetime=DAY)

    assert str(decide_renewal(given)).startswith("it expires at")


ISSUED_NOW = [
    ("an hour", HOUR, None, None),
    ("an hour, renewed as late as can be", HOUR, timedelta(minutes=5), None),
    ("an hour, renewed as early as can be", HOUR, HOUR - timedelta(minutes=1), None),
    ("ten years", YEARS, None, None),
    ("that is no whole number of seconds", HOUR + timedelta(milliseconds=500), None, None),
    ("cut short by its issuer", YEARS, None, 5 * 365 * DAY),
    ("cut short to less than what is left for renewing", YEARS, 6 * 365 * DAY, 5 * 365 * DAY),
    ("cut short to just what is left for renewing", YEARS, 5 * 365 * DAY, 5 * 365 * DAY),
]


@pytest.mark.parametrize(
    ("lifetime", "before", "issuer_left"),
    [row[1:] for row in ISSUED_NOW],
    ids=[row[0] for row in ISSUED_NOW],
)
@pytest.mark.parametrize("requested", [True, False], ids=["requested", "not requested"])
def test_a_just_issued_certificate_is_not_issued_again(
    lifetime: timedelta,
    before: timedelta | None,
    issuer_left: timedelta | None,
    *,
    requested: bool,
) -> None:
    now = NOW + timedelta(microseconds=300_000)
    issuer = replace(ISSUER, not_after=NOW + (issuer_left or 2 * YEARS))
    # As in `pki.issuing`: whole seconds, and no certificate outlives its issuer.
    ends = min(now + lifetime, issuer.not_after).replace(microsecond=0)
    starts = (now - BACKDATE).replace(microsecond=0)
    made = replace(leaf(), not_before=starts, not_after=ends)
    given = replace(
        GOOD,
        pair=pair(made, issuer),
        issuer=issuer,
        lifetime=lifetime,
        renew_before=before,
        requested_at=NOW if requested else None,
    )

    for later in (timedelta(), SECOND, timedelta(seconds=30)):
        assert decide_renewal(replace(given, now=now + later)) is None


@pytest.mark.parametrize(
    ("before", "moment"),
    [
        (None, NOW + 60 * DAY),
        (10 * DAY, NOW + 80 * DAY),
        (89 * DAY, NOW + DAY),
    ],
    ids=["a third of the life by default", "as the user says", "as early as the user says"],
)
def test_the_time_of_renewal_is(before: timedelta | None, moment: datetime) -> None:
    made = certificate(since=timedelta(), until=90 * DAY)

    assert renewal_time(made, before) == moment


LIVES = st.integers(3600, 10 * 365 * 86400).map(lambda seconds: timedelta(seconds=seconds))


@given(LIVES, st.floats(0.001, 0.999), st.booleans())
def test_a_certificate_is_renewed_within_its_lifetime(
    life: timedelta,
    part: float,
    chosen: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    made = certificate(since=-BACKDATE, until=life)
    moment = renewal_time(made, life * part if chosen else None)

    assert made.not_before < moment < made.not_after
