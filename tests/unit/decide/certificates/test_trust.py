"""Whom both sides trust: by which certificate, until when, and that none is dropped too early."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cnpg_plugin_operator.api.spec import ClientTrust
from cnpg_plugin_operator.decide.certificates.trust import (
    OVERLAP,
    TrustInput,
    decide_trust,
    overlap_ends,
)
from cnpg_plugin_operator.decide.facts.plugin import CertificateFacts, PairFacts, Trust
from tests.support.unit.builders import NOW, certificate, pair

DAY = timedelta(days=1)
YEARS = 3650 * DAY

ROOT = certificate("root", ca=True, until=YEARS)
RENEWED_ROOT = replace(ROOT, fingerprint="renewed root")
SUB = certificate("sub", "root", ca=True, until=YEARS)
RENEWED_SUB = replace(SUB, fingerprint="renewed sub")
OTHER = certificate("other", ca=True, until=YEARS)
EXPIRED_ROOT = certificate("root", ca=True, until=-DAY)
EXPIRED_SUB = certificate("sub", "root", ca=True, until=-DAY)

SELF = certificate("hello")
RENEWED_SELF = certificate("hello", number=2)
BY_ROOT = certificate("hello", "root")
BY_SUB = certificate("hello", "sub")
RENEWED = certificate("hello", "sub", number=2)

SELF_SIGNED = pair(SELF, authorities=(SELF,))
SELF_SIGNED_RENEWED = pair(RENEWED_SELF, authorities=(RENEWED_SELF,))
ISSUED = pair(BY_SUB, SUB, authorities=(ROOT,))
RENEWED_PAIR = pair(RENEWED, SUB, authorities=(ROOT,))


def facts(**changes: Any) -> TrustInput:
    """Two unchanged self-signed pairs, which have been trusted since yesterday."""
    usual = TrustInput(
        server=SELF_SIGNED,
        client=SELF_SIGNED,
        in_use=None,
        client_trust=ClientTrust.CHAIN,
        keeps_root=False,
        one_issuer=True,
        signers=(),
        live=None,
        settled=False,
        now=NOW,
    )
    return replace(usual, **changes)


def both(*certificates: CertificateFacts, since: timedelta | None = DAY) -> Trust:
    """The same trusted on both sides, unchanged for some time."""
    return Trust(certificates, certificates, NOW - since if since is not None else None)


# Which certificates make a pair trusted


ANCHORS = [
    ("a self-signed leaf by itself", SELF_SIGNED, (SELF,)),
    ("a self-signed leaf without ca.crt by itself", pair(SELF), (SELF,)),
    (
        "a self-signed leaf that is a CA by itself",
        pair(ROOT, authorities=(ROOT,)),
        (ROOT,),
    ),
    ("a leaf whose issuer is not there by itself", pair(BY_ROOT), (BY_ROOT,)),
    (
        "a leaf beside the issuer of others by itself",
        pair(BY_ROOT, authorities=(OTHER,)),
        (BY_ROOT,),
    ),
    (
        "a leaf whose namesake of an issuer is no CA by itself",
        pair(BY_ROOT, authorities=(certificate("root"),)),
        (BY_ROOT,),
    ),
    ("a leaf of a root by the root", pair(BY_ROOT, authorities=(ROOT,)), (ROOT,)),
    ("a leaf of an intermediate by that and its root", ISSUED, (SUB, ROOT)),
    ("a leaf of an intermediate without ca.crt by the intermediate", pair(BY_SUB, SUB), (SUB,)),
    ("a chain that ends in its root by both", pair(BY_SUB, SUB, ROOT), (SUB, ROOT)),
    (
        "an intermediate that only ca.crt has by that and its root",
        pair(BY_SUB, authorities=(ROOT, SUB)),
        (SUB, ROOT),
    ),
    (
        "a whole bundle by what has issued the chain",
        pair(BY_SUB, SUB, authorities=(OTHER, ROOT)),
        (SUB, ROOT),
    ),
    (
        "a renewed root and its predecessor by both",
        pair(BY_SUB, SUB, authorities=(RENEWED_ROOT, ROOT)),
        (SUB, RENEWED_ROOT, ROOT),
    ),
    (
        "a root whose predecessor has expired by the root alone",
        pair(BY_SUB, SUB, authorities=(ROOT, EXPIRED_ROOT)),
        (SUB, ROOT),
    ),
    (
        "a leaf whose intermediate has expired by itself, for no verifier takes the intermediate",
        pair(BY_SUB, EXPIRED_SUB),
        (BY_SUB,),
    ),
    (
        "authorities that name each other by all of them",
        pair(
            BY_SUB,
            authorities=(SUB, certificate("root", "sub", ca=True)),
        ),
        (SUB, certificate("root", "sub", ca=True)),
    ),
]


@pytest.mark.parametrize(
    ("server", "trusted"), [row[1:] for row in ANCHORS], ids=[row[0] for row in ANCHORS]
)
def test_cloudnativepg_trusts(server: PairFacts, trusted: tuple[CertificateFacts, ...]) -> None:
    assert decide_trust(facts(server=server)).servers == trusted


CLIENTS = [
    ("by tls.crt a self-signed leaf itself", {"client": SELF_SIGNED}, (SELF,)),
    ("by tls.crt what comes with the leaf", {"client": ISSUED}, (SUB,)),
    (
        "by tls.crt not a foreign root, which has certified others",
        {"client": pair(BY_SUB, SUB, authorities=(ROOT, OTHER))},
        (SUB,),
    ),
    (
        "by tls.crt the operator's own root with it",
        {"client": ISSUED, "keeps_root": True},
        (SUB, ROOT),
    ),
    (
        "by tls.crt nothing of ca.crt that has not issued the chain",
        {"client": pair(BY_SUB, SUB, authorities=(ROOT, OTHER)), "keeps_root": True},
        (SUB, ROOT),
    ),
    (
        "by ca.crt its certificates only",
        {"client": ISSUED, "client_trust": ClientTrust.ROOT},
        (ROOT,),
    ),
    (
        "by ca.crt all of its certificates, for the user has chosen them",
        {"client": pair(BY_SUB, SUB, authorities=(ROOT, OTHER)), "client_trust": ClientTrust.ROOT},
        (ROOT, OTHER),
    ),
    (
        "by ca.crt none of its certificates that has expired",
        {
            "client": pair(BY_SUB, SUB, authorities=(ROOT, EXPIRED_ROOT)),
            "client_trust": ClientTrust.ROOT,
        },
        (ROOT,),
    ),
]


@pytest.mark.parametrize(
    ("changes", "trusted"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS]
)
def test_the_plugin_trusts(changes: dict[str, Any], trusted: tuple[CertificateFacts, ...]) -> None:
    assert decide_trust(facts(**changes)).clients == trusted


def test_a_root_that_is_not_kept_for_clients_is_kept_for_servers() -> None:
    trust = decide_trust(facts(server=ISSUED, client=ISSUED))

    assert (trust.servers, trust.clients) == ((SUB, ROOT), (SUB,))


@pytest.mark.parametrize("client_trust", list(ClientTrust))
@pytest.mark.parametrize("keeps_root", [True, False])
def test_the_next_signer_is_trusted_on_both_sides_before_it_signs(
    client_trust: ClientTrust, *, keeps_root: bool
) -> None:
    trust = decide_trust(
        facts(
            server=ISSUED,
            client=ISSUED,
            client_trust=client_trust,
            keeps_root=keeps_root,
            signers=(RENEWED_ROOT,),
        )
    )

    assert RENEWED_ROOT in trust.servers
    assert RENEWED_ROOT in trust.clients


def test_an_expired_signer_is_not_trusted() -> None:
    trust = decide_trust(facts(signers=(EXPIRED_ROOT,)))

    assert (trust.servers, trust.clients) == ((SELF,), (SELF,))


def test_each_certificate_is_listed_once() -> None:
    trust = decide_trust(
        facts(server=ISSUED, client=ISSUED, keeps_root=True, in_use=RENEWED_PAIR, signers=(ROOT,))
    )

    assert (trust.servers, trust.clients) == ((SUB, ROOT), (SUB, ROOT))


@pytest.mark.parametrize("client_trust", list(ClientTrust))
def test_the_pair_in_use_is_trusted_beside_the_new_one(client_trust: ClientTrust) -> None:
    previous = pair(certificate("cnpg", "other"), OTHER, authorities=(OTHER,))
    trust = decide_trust(
        facts(server=ISSUED, client=ISSUED, in_use=previous, client_trust=client_trust)
    )

    assert {ROOT if client_trust is ClientTrust.ROOT else SUB, OTHER} == set(trust.clients)
    assert OTHER not in trust.servers


NEW_ISSUER = pair(certificate("cnpg", "other"), OTHER, authorities=(RENEWED_ROOT,))


@pytest.mark.parametrize("in_use", [ISSUED, None], ids=["not announced yet", "announced"])
def test_a_new_issuer_is_trusted_before_it_signs_for_the_plugin(in_use: PairFacts | None) -> None:
    """Its first certificate is CloudNativePG's own."""
    trust = decide_trust(facts(server=ISSUED, client=NEW_ISSUER, in_use=in_use, live=both(SUB)))

    assert trust.servers == (SUB, ROOT, OTHER)


def test_a_client_issuer_is_not_trusted_where_others_sign_for_the_plugin() -> None:
    trust = decide_trust(facts(server=ISSUED, client=NEW_ISSUER, one_issuer=False))

    assert trust.servers == (SUB, ROOT)


def test_a_self_signed_client_is_not_trusted_as_a_server() -> None:
    trust = decide_trust(facts(server=ISSUED, client=SELF_SIGNED_RENEWED))

    assert trust.servers == (SUB, ROOT)


# What changes, and when


def test_the_first_trust_has_no_time_of_change() -> None:
    assert decide_trust(facts()) == Trust((SELF,), (SELF,), None)


QUIET: list[tuple[str, dict[str, Any], Trust]] = [
    ("at rest", {}, both(SELF)),
    ("that has never changed", {}, both(SELF, since=None)),
    ("with everything settled", {"settled": True}, both(SELF)),
    (
        "with a leaf renewed under its authority",
        {"server": RENEWED_PAIR, "client": ISSUED, "keeps_root": True},
        both(SUB, ROOT),
    ),
    (
        "with both leaves renewed under their authority",
        {"server": RENEWED_PAIR, "client": RENEWED_PAIR, "keeps_root": True, "settled": True},
        both(SUB, ROOT),
    ),
    (
        "with previous certificates within their time",
        {"settled": True},
        both(SELF, OTHER, since=OVERLAP - timedelta(seconds=1)),
    ),
    ("with previous certificates while pods are behind", {}, both(SELF, OTHER)),
]


@pytest.mark.parametrize(
    ("changes", "live"), [row[1:] for row in QUIET], ids=[row[0] for row in QUIET]
)
def test_nothing_is_written_for_a_trust(changes: dict[str, Any], live: Trust) -> None:
    assert decide_trust(facts(live=live, **changes)) is live


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("since", [None, OVERLAP, DAY])
def test_a_renewed_self_signed_leaf_is_trusted_beside_the_previous_one(
    since: timedelta | None, *, settled: bool
) -> None:
    # `settled` was found for the previous certificate: pods cannot have followed yet.
    trust = decide_trust(
        facts(
            server=SELF_SIGNED_RENEWED,
            client=SELF_SIGNED_RENEWED,
            live=both(SELF, since=since),
            settled=settled,
        )
    )

    assert trust == Trust((RENEWED_SELF, SELF), (RENEWED_SELF, SELF), NOW)


LIVE = both(RENEWED_SELF, SELF, since=OVERLAP)
LEAVING: list[tuple[str, dict[str, Any], bool]] = [
    ("stays while pods may present it", {"settled": False}, True),
    ("stays within the overlap", {"settled": True, "now": NOW - timedelta(seconds=1)}, True),
    ("goes once all have followed and the overlap is over", {"settled": True}, False),
    ("goes when it has expired", {"now": SELF.not_after + timedelta(seconds=1)}, False),
    ("stays in its last second", {"now": SELF.not_after}, True),
]


@pytest.mark.parametrize(
    ("changes", "stays"), [row[1:] for row in LEAVING], ids=[row[0] for row in LEAVING]
)
def test_a_previous_certificate(changes: dict[str, Any], *, stays: bool) -> None:
    lasting = replace(RENEWED_SELF, not_after=NOW + YEARS)
    live = replace(LIVE, servers=(lasting, SELF), clients=(lasting, SELF))
    renewed = pair(lasting)
    trust = decide_trust(facts(server=renewed, client=renewed, live=live, **changes))
    kept = (lasting, SELF) if stays else (lasting,)

    assert (trust.servers, trust.clients) == (kept, kept)
    assert trust.changed_at == (LIVE.changed_at if stays else changes.get("now", NOW))


def test_a_certificate_presented_again_is_no_longer_a_previous_one() -> None:
    rolled_back = decide_trust(facts(live=both(RENEWED_SELF, SELF, since=OVERLAP - DAY / 1440)))
    later = decide_trust(
        facts(live=rolled_back, settled=True, now=NOW + OVERLAP - timedelta(seconds=1))
    )

    assert set(later.servers) == set(later.clients) == {SELF, RENEWED_SELF}


def test_the_overlap_of_a_client_begins_when_cloudnativepg_stops_using_it() -> None:
    new = pair(certificate("cnpg"))
    waiting = decide_trust(facts(client=new, in_use=SELF_SIGNED, live=both(SELF)))
    taken = NOW + 2 * OVERLAP
    live = replace(waiting, changed_at=NOW)
    after = decide_trust(facts(client=new, live=live, settled=True, now=taken))
    later = decide_trust(facts(client=new, live=after, settled=True, now=taken + OVERLAP / 2))

    assert set(waiting.clients) == set(later.clients) == {SELF, certificate("cnpg")}


@pytest.mark.parametrize(
    ("trust", "ends"),
    [
        (both(SELF), None),
        (both(SELF, since=None), None),
        (both(SELF, OTHER, since=None), None),
        (both(SELF, OTHER, since=timedelta()), NOW + OVERLAP),
        (Trust((SELF, OTHER), (SELF,), NOW), NOW + OVERLAP),
        (Trust((SELF,), (SELF, OTHER), NOW), NOW + OVERLAP),
    ],
    ids=["none", "none ever", "of an unknown time", "on both sides", "of servers", "of clients"],
)
def test_the_end_of_the_overlap_is_known_for_previous_certificates(
    trust: Trust, ends: datetime | None
) -> None:
    assert overlap_ends(trust, SELF_SIGNED, SELF_SIGNED) == ends
