"""Rows about the certificate that a server presents, and CloudNativePG's pool for it."""

from datetime import timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from tests.support.tls.cases import INTERMEDIATE, PLUGIN, ROOT, Row, a_plugin
from tests.support.tls.certificates import (
    CLIENT,
    SERVER,
    Pair,
    addresses,
    authority,
    issue,
    issuer_number,
    key_number,
    self_signed,
)

NOT_READABLE: Final = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

_ONE_OF_TWO = self_signed("root", dns=(), usages=None, ca=True, extra=(key_number(1),))
_OTHER_OF_TWO = self_signed("root", dns=(), usages=None, ca=True, extra=(key_number(2),))
_OLD_INTERMEDIATE = authority("old", ROOT, ends=timedelta(minutes=-5))
_HALF_EXPIRED = issue(_OLD_INTERMEDIATE)
_FOR_CLIENTS = self_signed("ca", dns=(), usages=(CLIENT,), ca=True)
_RENEWED = issue(INTERMEDIATE)
_PINNED, _LEAF = issue(ROOT), self_signed("leaf")

_UNKNOWN = ("neither in the server Secret's tls.crt nor issued by one in it",)
_OUTSIDE = (*_UNKNOWN, "issued by CN=intermediate", "previous certificate")

ACCEPTED: Final = [
    Row("a self-signed leaf that is pinned", a_plugin(), Reason.IDENTIFIED, ("1.2.3",)),
    Row(
        "a self-signed RSA leaf that is pinned",
        a_plugin(rsa := self_signed(key="RSA 2048")),
        Reason.IDENTIFIED,
        trust=rsa.chain,
    ),
    Row(
        "a self-signed P-384 leaf that is pinned",
        a_plugin(p384 := self_signed(key="P-384")),
        Reason.IDENTIFIED,
        trust=p384.chain,
    ),
    Row(
        "a leaf issued by a CA, of which only the leaf is in the pool",
        a_plugin(_PINNED),
        Reason.IDENTIFIED,
        trust=_PINNED.leaf,
    ),
    Row(
        "a leaf below an intermediate, of which only the root is in the pool",
        a_plugin(_RENEWED),
        Reason.IDENTIFIED,
        trust=ROOT.leaf,
    ),
    Row(
        "a renewed leaf, with the previous one and their CA in the pool",
        a_plugin(_PINNED),
        Reason.IDENTIFIED,
        trust=issue(ROOT).leaf + ROOT.leaf,
    ),
    Row(
        "a renewed leaf, with the previous one and their intermediate in the pool",
        a_plugin(_RENEWED),
        Reason.IDENTIFIED,
        trust=issue(INTERMEDIATE).chain,
    ),
    Row(
        "a previous leaf, with the renewed one before it in the pool",
        a_plugin(_PINNED),
        Reason.IDENTIFIED,
        trust=issue(ROOT).leaf + _PINNED.leaf,
    ),
    Row(
        "a previous self-signed leaf, with the renewed one before it in the pool",
        a_plugin(),
        Reason.IDENTIFIED,
        trust=self_signed().chain + PLUGIN.chain,
    ),
    Row(
        "a leaf of the first of two roots with one name",
        a_plugin(issue(_OTHER_OF_TWO, extra=(issuer_number(2),))),
        Reason.IDENTIFIED,
        trust=_ONE_OF_TWO.leaf + _OTHER_OF_TWO.leaf,
    ),
    Row(
        "a leaf without extended key usage",
        a_plugin(free := self_signed(usages=None)),
        Reason.IDENTIFIED,
        trust=free.chain,
    ),
    Row(
        "a leaf for clients and servers",
        a_plugin(both := self_signed(usages=(CLIENT, SERVER))),
        Reason.IDENTIFIED,
        trust=both.chain,
    ),
    Row(
        "a leaf for a wildcard that covers the name",
        a_plugin(star := self_signed(dns=("*.cnpg-system.svc",))),
        Reason.IDENTIFIED,
        trust=star.chain,
        name="hello-world.cnpg-system.svc",
    ),
    Row(
        "a name in another case",
        a_plugin(shout := self_signed(dns=("Hello-World",))),
        Reason.IDENTIFIED,
        trust=shout.chain,
    ),
    Row("a name with a dot at its end", a_plugin(), Reason.IDENTIFIED, name="hello-world."),
    Row(
        "an IP address that the leaf has as an IP address",
        a_plugin(at := self_signed(dns=(), extra=(addresses("10.0.0.1"),))),
        Reason.IDENTIFIED,
        trust=at.chain,
        name="10.0.0.1",
    ),
    Row(
        "a pool with comments that are not ASCII",
        a_plugin(),
        Reason.IDENTIFIED,
        trust="# Főtanúsítvány\n".encode() + PLUGIN.chain,
    ),
    Row(
        "a pool with something that is no certificate before the one that counts",
        a_plugin(),
        Reason.IDENTIFIED,
        trust=NOT_READABLE + PLUGIN.chain,
    ),
]

REFUSED: Final = [
    Row(
        "a renewed leaf, with only the previous one in the pool",
        a_plugin(_RENEWED),
        Reason.TLS_REJECTED,
        _OUTSIDE,
        "certificate signed by unknown authority",
        trust=issue(INTERMEDIATE).leaf,
    ),
    Row(
        "a self-signed leaf that is another than the one in the pool",
        a_plugin(),
        Reason.TLS_REJECTED,
        _UNKNOWN,
        "certificate signed by unknown authority",
        trust=self_signed().chain,
    ),
    Row(
        "a leaf of another root",
        a_plugin(_PINNED),
        Reason.TLS_REJECTED,
        _UNKNOWN,
        "certificate signed by unknown authority",
        trust=authority("other").leaf,
    ),
    Row(
        "a leaf of another root of the same name",
        a_plugin(_PINNED),
        Reason.TLS_REJECTED,
        _UNKNOWN,
        "certificate signed by unknown authority",
        trust=authority().leaf,
    ),
    Row(
        "a leaf served without the intermediate that leads to the pool",
        a_plugin(Pair(_RENEWED.certificate, _RENEWED.key_object)),
        Reason.TLS_REJECTED,
        _OUTSIDE,
        "certificate signed by unknown authority",
        trust=ROOT.leaf,
    ),
    Row(
        "a leaf that a leaf in the pool has signed",
        a_plugin(issue(_LEAF)),
        Reason.TLS_REJECTED,
        ("which is not accepted: invalid CA certificate",),
        "certificate signed by unknown authority .*parent certificate cannot sign",
        trust=_LEAF.leaf,
    ),
    Row(
        "a certificate for others",
        a_plugin(others := self_signed(dns=("a.example", "b.example"))),
        Reason.TLS_REJECTED,
        ("for [a.example, b.example], not for hello-world",),
        "certificate is valid for a.example, b.example, not hello-world",
        trust=others.chain,
    ),
    Row(
        "a certificate with the common name alone",
        a_plugin(legacy := self_signed(dns=())),
        Reason.TLS_REJECTED,
        ("no DNS name (SAN)", "common name does not count"),
        "relies on legacy Common Name field",
        trust=legacy.chain,
    ),
    Row(
        "a wildcard, which covers one label only",
        a_plugin(wild := self_signed(dns=("*.svc",))),
        Reason.TLS_REJECTED,
        ("[*.svc]", "not for hello.world.svc"),
        r"certificate is valid for \*.svc, not hello.world.svc",
        trust=wild.chain,
        name="hello.world.svc",
    ),
    Row(
        "a wildcard for part of a label",
        a_plugin(part := self_signed(dns=("hello-*",))),
        Reason.TLS_REJECTED,
        ("[hello-*]", "not for hello-world"),
        r"certificate is valid for hello-\*, not hello-world",
        trust=part.chain,
    ),
    Row(
        "an IP address that the leaf has as a DNS name",
        a_plugin(texted := self_signed(dns=("10.0.0.1",))),
        Reason.TLS_REJECTED,
        ("no IP address (SAN), not for 10.0.0.1", "not with its DNS names"),
        "cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
        trust=texted.chain,
        name="10.0.0.1",
    ),
    Row(
        "another IP address than the leaf's",
        a_plugin(elsewhere := self_signed(dns=(), extra=(addresses("10.0.0.2"),))),
        Reason.TLS_REJECTED,
        ("for [10.0.0.2], not for 10.0.0.1", "spec.tls.serverName"),
        "certificate is valid for 10.0.0.2, not 10.0.0.1",
        trust=elsewhere.chain,
        name="10.0.0.1",
    ),
    Row(
        "a server certificate for clients",
        a_plugin(wrong := self_signed(usages=(CLIENT,))),
        Reason.TLS_REJECTED,
        ("whose key usage does not allow a server", "'server auth'"),
        "incompatible key usage",
        trust=wrong.chain,
    ),
    Row(
        "a leaf of a CA for clients",
        a_plugin(issue(_FOR_CLIENTS)),
        Reason.TLS_REJECTED,
        ("whose issuer's certificate has a key usage that does not allow servers",),
        "incompatible key usage",
        trust=_FOR_CLIENTS.leaf,
    ),
    Row(
        "an expired leaf",
        a_plugin(expired := self_signed(ends=timedelta(minutes=-5))),
        Reason.TLS_REJECTED,
        ("which expired at 20", "renew it"),
        "certificate has expired or is not yet valid: current time .* is after",
        trust=expired.chain,
    ),
    Row(
        "an expired issuer",
        a_plugin(_HALF_EXPIRED),
        Reason.TLS_REJECTED,
        ("whose issuer's certificate has expired",),
        "certificate has expired or is not yet valid: current time .* is after",
        trust=_OLD_INTERMEDIATE.chain,
    ),
    Row(
        "a leaf that is not valid yet",
        a_plugin(early := self_signed(starts=timedelta(hours=1))),
        Reason.TLS_REJECTED,
        ("not valid before 20", "clocks"),
        "certificate has expired or is not yet valid: current time .* is before",
        trust=early.chain,
    ),
    Row(
        "an issuer that is not valid yet",
        a_plugin(issue(young := self_signed("ca", dns=(), ca=True, starts=timedelta(hours=1)))),
        Reason.TLS_REJECTED,
        ("whose issuer's certificate is not valid yet",),
        "certificate has expired or is not yet valid: current time .* is before",
        trust=young.leaf,
    ),
    Row(
        "a pool without certificates",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("server Secret's tls.crt contains no certificate", "Issue"),
        "no valid certificate in the server Secret",
        trust=b"nothing",
    ),
    Row(
        "a pool with nothing but what is no certificate",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("server Secret's tls.crt is unreadable",),
        "no valid certificate in the server Secret",
        trust=NOT_READABLE,
    ),
]
