"""Rows that need Go on the other side: servers written in Go, and our differences from Go.

Plugins in Go request client certificates differently from those in other languages: they name the
issuers that they accept, and CloudNativePG sends nothing if its own is not among them.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from tests.support.tls.cases import CNPG, INTERMEDIATE, PLUGIN, ROOT, Row, Server, a_plugin
from tests.support.tls.cases_peers import CHAINED, ISSUED, STRANGER
from tests.support.tls.certificates import ANY, CLIENT, Pair, issue, self_signed, usage
from tests.support.tls.go_verdict import go_server


def _in_go(pair: Pair = PLUGIN, trusts: bytes = CNPG.chain) -> Callable[[], Server]:
    return lambda: go_server(pair, trusts)


def _client(*, key: str = "P-256", starts: timedelta = timedelta(hours=-1), days: int = 90) -> Pair:
    ends = timedelta(days=days)
    return self_signed("cnpg", dns=(), usages=(CLIENT,), key=key, starts=starts, ends=ends)


_CNPG_ED25519 = _client(key="Ed25519")
_FREE = self_signed("cnpg", dns=(), usages=None)
_ANY = self_signed("cnpg", dns=(), usages=(ANY,))
_FOR_SERVERS = self_signed("cnpg", dns=())
_EXPIRED = _client(starts=timedelta(days=-2), days=-1)
_EARLY = _client(starts=timedelta(hours=1))
_NOT_ASKED_FOR = ("accepts client certificates of certain issuers only", "spec.tls.clientTrust")
_OUT_OF_TIME = ("alert 'certificate expired'",)

ACCEPTED_IN_GO: Final = [
    Row("a client certificate that is pinned", _in_go(), Reason.IDENTIFIED),
    Row(
        "an RSA server and an RSA client",
        _in_go(rsa := self_signed(key="RSA 2048"), (rsa_client := _client(key="RSA 2048")).chain),
        Reason.IDENTIFIED,
        trust=rsa.chain,
        client=rsa_client,
    ),
    Row(
        "an Ed25519 client",
        _in_go(trusts=_CNPG_ED25519.chain),
        Reason.IDENTIFIED,
        client=_CNPG_ED25519,
    ),
    Row(
        "a CA's client certificate where the CA is trusted",
        _in_go(trusts=ISSUED.authority),
        Reason.IDENTIFIED,
        client=ISSUED,
    ),
    Row(
        "an intermediate's client certificate where its chain is trusted",
        _in_go(trusts=CHAINED.chain),
        Reason.IDENTIFIED,
        client=CHAINED,
    ),
    Row(
        "an intermediate's client certificate where its root is trusted",
        _in_go(trusts=ROOT.leaf),
        Reason.IDENTIFIED,
        client=CHAINED,
    ),
    Row(
        "a renewed client certificate where the previous one's chain is trusted",
        _in_go(trusts=issue(INTERMEDIATE, "cnpg", dns=(), usages=(CLIENT,)).chain),
        Reason.IDENTIFIED,
        client=CHAINED,
    ),
    Row(
        "a client certificate without extended key usage",
        _in_go(trusts=_FREE.chain),
        Reason.IDENTIFIED,
        client=_FREE,
    ),
    Row(
        "a client certificate for any purpose",
        _in_go(trusts=_ANY.chain),
        Reason.IDENTIFIED,
        client=_ANY,
    ),
]

REFUSED_IN_GO: Final = [
    Row(
        "a CA's client certificate of which only the leaf is trusted, and which Go does not send",
        _in_go(trusts=ISSUED.leaf),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        _NOT_ASKED_FOR,
        "tls: certificate required",
        client=ISSUED,
    ),
    Row(
        "a client certificate of a name that the plugin does not know",
        _in_go(),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        _NOT_ASKED_FOR,
        "tls: certificate required",
        client=self_signed("stranger", dns=(), usages=(CLIENT,)),
    ),
    Row(
        "another client certificate of a name that the plugin knows",
        _in_go(),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'unknown ca'", "--client-cert"),
        "tls: unknown certificate authority",
        client=STRANGER,
    ),
    Row(
        "an expired client certificate",
        _in_go(trusts=_EXPIRED.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        _OUT_OF_TIME,
        "tls: expired certificate",
        client=_EXPIRED,
    ),
    Row(
        "a client certificate that is not valid yet",
        _in_go(trusts=_EARLY.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        _OUT_OF_TIME,
        "tls: expired certificate",
        client=_EARLY,
    ),
    Row(
        "a client certificate for servers",
        _in_go(trusts=_FOR_SERVERS.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'bad certificate'",),
        "tls: bad certificate",
        client=_FOR_SERVERS,
    ),
]

_ED25519 = self_signed(key="Ed25519")
_P521 = self_signed(key="P-521")
_ANY_SERVER = self_signed(usages=(ANY,))
_ENCIPHERS = self_signed(key="RSA 2048", extra=(usage("key_encipherment"),))
_ONE_ROOT = self_signed("root", dns=(), usages=None, ca=True)
_OTHER_ROOT = self_signed("root", dns=(), usages=None, ca=True)

_NOT_IN_GRPC = "which this operator's gRPC library does not support"

DIFFERENCES: Final = [
    # gRPC's C-core, which calls the plugin after TLS was checked by Go's rules, contains BoringSSL.
    # It supports fewer server keys (`decide.certificates.tls_rules`), and enforces the usage of a
    # key.
    Row(
        "an Ed25519 key of the server",
        a_plugin(_ED25519),
        Reason.UNSUPPORTED_KEY,
        ("passes CloudNativePG's TLS rules", "Ed25519", _NOT_IN_GRPC, "ECDSA P-256"),
        trust=_ED25519.chain,
    ),
    Row(
        "an ECDSA P-521 key of the server",
        a_plugin(_P521),
        Reason.UNSUPPORTED_KEY,
        ("passes CloudNativePG's TLS rules", "ECDSA P-521", _NOT_IN_GRPC, "ECDSA P-256"),
        trust=_P521.chain,
    ),
    Row(
        "a server key that may not sign",
        a_plugin(_ENCIPHERS),
        Reason.NO_ANSWER,
        ("passed the TLS check", "KEY_USAGE_BIT_INCORRECT"),
        trust=_ENCIPHERS.chain,
    ),
    # OpenSSL takes the first certificate of a name from the pool, unless key identifiers
    # distinguish them; Go tries them all.
    Row(
        "the second of two roots with one name, without key identifiers",
        a_plugin(issue(_OTHER_ROOT)),
        Reason.TLS_REJECTED,
        ("neither in the server Secret's tls.crt nor issued by one in it",),
        trust=_ONE_ROOT.leaf + _OTHER_ROOT.leaf,
    ),
    # OpenSSL requires an explicit usage of a server certificate.
    Row(
        "a server certificate for any purpose",
        a_plugin(_ANY_SERVER),
        Reason.TLS_REJECTED,
        ("'any' CloudNativePG accepts, but not OpenSSL", "'server auth'"),
        trust=_ANY_SERVER.chain,
    ),
]
"""Rows that Go accepts and we refuse, because we cannot prove them."""
