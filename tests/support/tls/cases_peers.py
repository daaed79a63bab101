"""Rows about the certificate that CloudNativePG presents, and about faulty servers."""

import ssl
from datetime import timedelta
from typing import Final

from cnpg_plugin_operator.api.conditions import Reason
from tests.support.tls.cases import (
    CNPG,
    INTERMEDIATE,
    PLUGIN,
    ROOT,
    Files,
    Row,
    a_plugin,
    openssl,
)
from tests.support.tls.cases_servers import ACCEPTED as SERVERS_ACCEPTED
from tests.support.tls.cases_servers import NOT_READABLE
from tests.support.tls.cases_servers import REFUSED as SERVERS_REFUSED
from tests.support.tls.certificates import CLIENT, issue, self_signed
from tests.support.tls.servers import closing, no_server, raw_server, saying, server_context, silent

STRANGER: Final = self_signed("cnpg", dns=(), usages=(CLIENT,))
ISSUED: Final = issue(ROOT, "cnpg", dns=(), usages=(CLIENT,))
CHAINED: Final = issue(INTERMEDIATE, "cnpg", dns=(), usages=(CLIENT,))

_ED25519 = self_signed("cnpg", dns=(), usages=(CLIENT,), key="Ed25519")
_EXPIRED = self_signed("cnpg", dns=(), usages=(CLIENT,), ends=timedelta(minutes=-5))
_FOR_SERVERS = self_signed("cnpg", dns=())

_TOO_OLD = ("does not support TLS 1.3", "key of a common type")
_HANGS_UP = ("closes the connection during the TLS handshake", "TLS 1.3")
_GONE = "EOF|connection reset by peer"

_ACCEPTED = [
    Row(
        "a client certificate from an intermediate, of which the plugin trusts the chain",
        a_plugin(trusts=CHAINED.chain),
        Reason.IDENTIFIED,
        client=CHAINED,
    ),
    Row(
        "a client certificate from a CA that the plugin trusts",
        a_plugin(trusts=ISSUED.authority),
        Reason.IDENTIFIED,
        client=ISSUED,
    ),
    Row(
        "a client Secret with comments and superfluous certificates",
        a_plugin(),
        Reason.IDENTIFIED,
        client=Files(b"subject=cnpg\n" + CNPG.chain + ROOT.leaf, CNPG.chain + CNPG.key),
    ),
    Row(
        "a plugin that asks for no client certificate",
        a_plugin(trusts=None),
        Reason.IDENTIFIED,
    ),
]

_CLIENTS_REFUSED = [
    Row(
        "a client certificate that the plugin does not know, refused without a word",
        a_plugin(),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("without a reason", "--client-cert"),
        _GONE,
        client=STRANGER,
    ),
    Row(
        "a client certificate that the plugin does not know, refused by an alert",
        openssl(trusts=CNPG.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'unknown ca'", "--client-cert"),
        "tls: unknown certificate authority",
        client=self_signed("stranger", dns=(), usages=(CLIENT,)),
    ),
    Row(
        "an expired client certificate",
        openssl(trusts=_EXPIRED.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'certificate expired'",),
        "tls: expired certificate",
        client=_EXPIRED,
    ),
    Row(
        "a client certificate for servers",
        openssl(trusts=_FOR_SERVERS.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("alert 'unsupported certificate'",),
        "tls: unsupported certificate",
        client=_FOR_SERVERS,
    ),
    Row(
        "a client key that the plugin's gRPC cannot use",
        a_plugin(trusts=_ED25519.chain),
        Reason.CLIENT_CERTIFICATE_REFUSED,
        ("key is Ed25519", "ECDSA P-256"),
        _GONE,
        client=_ED25519,
    ),
    Row(
        "a client Secret whose key belongs to another certificate",
        a_plugin(),
        Reason.KEY_MISMATCH,
        ("does not belong to its tls.crt",),
        "private key does not match public key",
        client=Files(CNPG.chain, STRANGER.key),
    ),
    Row(
        "a client Secret with the CA before the leaf",
        a_plugin(),
        Reason.KEY_MISMATCH,
        ("does not belong to its tls.crt",),
        "private key does not match public key",
        client=Files(ISSUED.authority + ISSUED.chain, ISSUED.key),
    ),
    Row(
        "a client Secret without a certificate",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("client Secret's tls.crt contains no certificate",),
        "failed to find any PEM data in certificate input",
        client=Files(b"", CNPG.key),
    ),
    Row(
        "a client Secret without a key",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("client Secret's tls.key contains no private key",),
        "failed to find any PEM data in key input",
        client=Files(CNPG.chain, b""),
    ),
    Row(
        "a client Secret with something that is no certificate",
        a_plugin(),
        Reason.SECRET_INCOMPLETE,
        ("client Secret's tls.crt or tls.key is unreadable",),
        "malformed certificate",
        client=Files(NOT_READABLE, CNPG.key),
    ),
]

_CONNECTIONS_REFUSED = [
    Row(
        "a port without a listener",
        no_server,
        Reason.UNREACHABLE,
        ("cannot be reached: Connection refused", "spec.port"),
        "connect: connection refused",
    ),
    Row(
        "a server that stops at TLS 1.2 and says so",
        openssl(newest=ssl.TLSVersion.TLSv1_2),
        Reason.TLS_REJECTED,
        _TOO_OLD,
        "protocol version not supported",
    ),
    Row(
        "a server that stops at TLS 1.2 and hangs up",
        lambda: raw_server(silent, server_context(PLUGIN, newest=ssl.TLSVersion.TLSv1_2)),
        Reason.TLS_REJECTED,
        _HANGS_UP,
        _GONE,
    ),
    Row(
        "a server with a key for which TLS 1.3 has no signature",
        openssl(self_signed(key="P-224")),
        Reason.TLS_REJECTED,
        _TOO_OLD,
        "protocol version not supported",
    ),
    Row(
        "a server with a key that OpenSSL knows and Go does not",
        openssl(ed448 := self_signed(key="Ed448")),
        Reason.UNSUPPORTED_KEY,
        ("type Ed448, which Go does not support", "ECDSA P-256"),
        "handshake failure",
        trust=ed448.chain,
    ),
    Row(
        "a server that does not agree on HTTP/2",
        lambda: raw_server(silent, server_context(PLUGIN, protocols=())),
        Reason.TLS_REJECTED,
        ("HTTP/2 (ALPN 'h2')",),
        "missing selected ALPN property",
    ),
    Row(
        "a server without TLS",
        lambda: raw_server(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        Reason.TLS_REJECTED,
        ("does not speak TLS.", "--server-cert"),
        "first record does not look like a TLS handshake",
    ),
    Row(
        "a server that hangs up",
        lambda: raw_server(closing),
        Reason.TLS_REJECTED,
        _HANGS_UP,
        _GONE,
    ),
    Row(
        "a server that never says a word",
        lambda: raw_server(silent),
        Reason.NO_ANSWER,
        ("accepts connections but did not finish TLS within 0.2 s.",),
        "i/o timeout",
        timeout=0.2,
    ),
    Row(
        "a server that falls silent after TLS",
        lambda: raw_server(silent, server_context(PLUGIN)),
        Reason.NO_ANSWER,
        ("finished TLS but did not send HTTP/2's first frame within 0.5 s.",),
        "i/o timeout",
        timeout=0.5,
    ),
    Row(
        "a TLS server that speaks no HTTP/2",
        lambda: raw_server(saying(b"220 mail.example ESMTP\r\n"), server_context(PLUGIN)),
        Reason.NOT_A_PLUGIN,
        ("not HTTP/2",),
        "not a settings frame",
    ),
    Row(
        "a server name that fits no TLS handshake",
        a_plugin(),
        Reason.TLS_REJECTED,
        ("'a..b' cannot be used as a TLS server name", "spec.tls.serverName"),
        "certificate is valid for hello-world, not a..b",
        name="a..b",
    ),
]

MATRIX: Final = [
    *SERVERS_ACCEPTED,
    *_ACCEPTED,
    *SERVERS_REFUSED,
    *_CLIENTS_REFUSED,
    *_CONNECTIONS_REFUSED,
]
"""Rows on which our verdict has to equal Go's."""
