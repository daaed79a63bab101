"""Issuers and Secrets of users, created with `tests.support.tls.certificates`."""

import base64
from collections.abc import Mapping
from typing import Final

from tests.support.resources import NAMESPACE, Manifest
from tests.support.tls.certificates import CLIENT, SERVER, Pair, issue

TLS: Final = "kubernetes.io/tls"


def secret(name: str, data: Mapping[str, bytes], kind: str = "Opaque") -> Manifest:
    """A Secret; with the type `Opaque` it may lack the keys that a TLS Secret requires."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def ca_issuer(name: str, authority: Pair) -> list[Manifest]:
    """An issuer of cert-manager that signs with a CA, and the Secret of that CA."""
    issuer = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ca": {"secretName": name}},
    }
    return [secret(name, authority.secret, TLS), issuer]


def server_pair(authority: Pair, service: str) -> Pair:
    """A pair for the plugin behind a Service."""
    return issue(authority, service, dns=[service, f"{service}.{NAMESPACE}.svc"], usages=[SERVER])


def client_pair(authority: Pair) -> Pair:
    """A pair for CloudNativePG."""
    return issue(authority, "cloudnative-pg", dns=[], usages=[CLIENT])
