"""The objects of a plugin, and what is in them."""

import hashlib
from typing import Final

_NAME_LENGTH: Final = 253
_DIGEST_LENGTH: Final = 8

CONTAINER: Final = "plugin"
"""The plugin's container."""

VOLUME_SERVER: Final = "cnpg-plugin-server-tls"
"""Volume with the plugin's server certificate."""

VOLUME_CLIENT: Final = "cnpg-plugin-client-tls"
"""Volume with the certificates that the plugin trusts clients by."""

ACCOUNT_PREFIX: Final = "cnpg-plugin-"
"""Prefix of the accounts that the operator creates. It keeps them from taking the name of an
account that once had rights: bindings outlive the account that they name."""

TRUSTED_SERVERS: Final = "tls.crt"
"""Key of the certificates that CloudNativePG trusts the plugin by. CloudNativePG chose the name."""

TRUSTED_CLIENTS: Final = "clients.crt"
"""Key of the certificates that the plugin trusts CloudNativePG by."""

CHAIN_SELF_SIGNED: Final = "cnpg-plugins-selfsigned"
"""Issuer that signs the root with its own key."""

CHAIN_ROOT: Final = "cnpg-plugins-root"
"""Root CA: Certificate, its Secret and the Issuer that uses it."""

CHAIN_INTERMEDIATE: Final = "cnpg-plugins"
"""Intermediate CA: Certificate, its Secret and the Issuer that issues to plugins."""

OWN_ROOT: Final = "cnpg-plugins-selfmanaged-root"
"""Secret of the root CA."""

OWN_INTERMEDIATE: Final = "cnpg-plugins-selfmanaged"
"""Secret of the intermediate CA that issues to plugins."""


def account(name: str) -> str:
    """Name the account that the operator creates for a plugin that names none."""
    return f"{ACCOUNT_PREFIX}{name}"


def grant(prefix: str, role: str) -> str:
    """Name the ClusterRole that allows binding a ClusterRole; the chart computes the same name."""
    return shorten(f"{prefix}{role}", _NAME_LENGTH)


def server_secret(name: str) -> str:
    """Name the Secret (and Certificate) that the plugin's server presents."""
    return f"{name}-server-tls"


def client_secret(name: str, issuer: str = "") -> str:
    """Name the Secret (and Certificate) that CloudNativePG presents to the plugin.

    Every issuer gets its own name. CloudNativePG loads a changed Secret at once, so a pair in use
    must never be replaced by one that the plugin may not trust yet.
    """
    return f"{name}-{issuer}-client-tls" if issuer else f"{name}-client-tls"


def trust_secret(name: str) -> str:
    """Name the Secret of the certificates by which both sides trust each other; it has no key."""
    return f"{name}-trust"


def candidate_service(name: str) -> str:
    """Name the Service by which a plugin is proven while its own is still another's."""
    return f"{name}-candidate"


def authority(name: str) -> str:
    """Name the intermediate CA of a plugin that shares none: Certificate, Secret and Issuer."""
    return f"{name}-plugin-ca"


def shorten(text: str, length: int, parts: str = "") -> str:
    """Shorten a name; a digest of the whole name, or of `parts`, keeps long names distinct."""
    if len(text) <= length and not parts:
        return text
    digest = hashlib.sha256((parts or text).encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{text[: length - _DIGEST_LENGTH - 1]}-{digest}"
