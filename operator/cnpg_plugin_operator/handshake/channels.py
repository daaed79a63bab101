"""Opens the gRPC channels that CloudNativePG opens: TLS to a Service, or a plain unix socket.

It takes bytes and names only, no parsed certificates: clients of a unix socket should not have to
load the libraries that parse them.
"""

from pathlib import Path
from typing import Final
from urllib.parse import quote

import grpc
import grpc.aio

MOST_RECEIVED: Final = 64 * 1024
"""Maximum bytes of one answer; a plugin's metadata has a few hundred."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MOST_RECEIVED),
    ("grpc.enable_http_proxy", 0),  # CloudNativePG does not use the environment's proxy
    ("grpc.use_local_subchannel_pool", 1),  # never reuse the connection of an earlier handshake
)


def open_tls(
    target: str, server_name: str, *, trust: bytes, certificate: bytes, key: bytes
) -> grpc.aio.Channel:
    """Open a channel with mTLS; everything in `trust` (PEM) is a root."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trust, private_key=key, certificate_chain=certificate
    )
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(target, credentials, options)


def open_socket(path: Path) -> grpc.aio.Channel:
    """Open a channel without TLS, as CloudNativePG does within its own pod.

    The authority is what Go's client sends over a unix socket.
    """
    options = (*_OPTIONS, ("grpc.default_authority", "localhost"))
    return grpc.aio.insecure_channel(f"unix:{quote(str(path))}", options)
