"""The Secret that defines whom CloudNativePG and a plugin trust; see `decide.certificates.trust`.

It is not a ConfigMap, because CloudNativePG reads a Secret. It contains public certificates only.
"""

import base64
from collections.abc import Iterable
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child

LINE: Final = 64
"""Characters in a line of PEM."""


def build_trust(
    plugin: Plugin, servers: Iterable[bytes], clients: Iterable[bytes], changed_at: str | None
) -> Object:
    """Build the Secret of trusted certificates, given as DER."""
    annotations = {} if changed_at is None else {names.annotations.TRUST_CHANGED: changed_at}
    return build_child(
        plugin,
        "v1",
        "Secret",
        names.children.trust_secret(plugin.name),
        annotations=annotations,
        type="Opaque",
        data={
            names.children.TRUSTED_SERVERS: _encode(servers),
            names.children.TRUSTED_CLIENTS: _encode(clients),
        },
    )


def _encode(certificates: Iterable[bytes]) -> str:
    """Encode certificates as PEM in base64, for a Secret."""
    text = "".join(map(_write_pem, certificates))
    return base64.b64encode(text.encode()).decode()


def _write_pem(certificate: bytes) -> str:
    """Write one certificate in the format of RFC 7468."""
    text = base64.b64encode(certificate).decode()
    lines = (text[begin : begin + LINE] for begin in range(0, len(text), LINE))
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
