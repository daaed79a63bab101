"""Deletion is complete, whatever state a plugin is in: the inventory is the same before and after.

All plugins of a run are created and deleted together, so that one inventory is compared.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.support import wait
from tests.support.e2e.api import APPS, CERT_MANAGER, CORE, RBAC, Object
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.sidecars import MINUTE, template, until_ready, until_rolled
from tests.support.resources import (
    NAMESPACE,
    Manifest,
    behaviour,
    plugin,
    plugin_name,
    postgres,
    service,
)
from tests.support.thorough import THOROUGH, rows

pytestmark = pytest.mark.cnpg("sidecars")

KINDS: Final = (
    *((APPS, kind) for kind in ("deployments",)),
    *((CORE, kind) for kind in ("services", "secrets", "configmaps", "serviceaccounts")),
    *((RBAC, kind) for kind in ("rolebindings", "roles")),
    *((CERT_MANAGER, kind) for kind in ("certificates", "issuers")),
)
"""All kinds that the operator creates in a namespace."""

CLUSTER_WIDE: Final = f"{RBAC}/clusterrolebindings"
DEEP_LEVELS: Final = 40
"""More levels than this version parses, fewer than the API server stores."""


@dataclass(frozen=True)
class Row:
    """A plugin in one state."""

    name: str
    condition: str
    reason: str
    spec: dict[str, Any] = field(default_factory=dict)
    becomes: dict[str, Any] = field(default_factory=dict)
    """The change of its spec once it is Ready; empty if it never becomes Ready."""
    used: bool = False
    """Whether a Cluster names it when it is deleted."""

    @property
    def manifest(self) -> Manifest:
        return plugin(self.name, **self.spec)


def deep() -> dict[str, Any]:
    """A part of a pod that is nested too deeply."""
    value: dict[str, Any] = {}
    for _ in range(DEEP_LEVELS):
        value = {"a": value}
    return value


PROVIDERS: Final = ("CertManager", "SelfManaged")
UNPARSABLE: Final = {"podTemplate": {"spec": deep()}}


def of_provider(provider: str) -> list[Row]:
    """A plugin in each state, with certificates of one provider."""
    short, tls = provider[0].lower(), {"provider": provider}
    other = behaviour("other")
    return [
        Row(
            f"gone-{short}-image",
            "Available",
            "ImagePullError",
            {"tls": tls, "image": "localhost/no-such-image:1"},
        ),
        Row(
            f"gone-{short}-name",
            "HandshakeSucceeded",
            "IdentityMismatch",
            {"tls": tls, "env": other},
        ),
        Row(
            f"gone-{short}-role", "Accepted", "InvalidSpec", {"tls": tls}, {"clusterRoles": ["no"]}
        ),
        Row(f"gone-{short}-rest", "Suspended", "Suspended", {"tls": tls}, {"suspend": True}),
        Row(f"gone-{short}-deep", "Accepted", "InvalidSpec", {"tls": tls}, UNPARSABLE),
        Row(f"gone-{short}-used", "Accepted", "InvalidSpec", {"tls": tls}, UNPARSABLE, used=True),
    ]


FOREIGN: Final = "gone-foreign"
ROWS: Final = (
    *(row for provider in PROVIDERS for row in of_provider(provider)),
    Row(FOREIGN, "Accepted", "NameConflict"),
    Row(
        "gone-user-secrets",
        "CertificatesReady",
        "SecretMissing",
        {"tls": {"provider": "Secrets", "secrets": {"server": "no-a", "client": "no-b"}}},
    ),
    Row(
        "gone-issuer",
        "CertificatesReady",
        "IssuerNotReady",
        {"tls": {"issuerRef": {"name": "no-such-issuer", "kind": "Issuer"}}},
    ),
    Row(
        "gone-side-deep",
        "Accepted",
        "InvalidSpec",
        {"mode": "Sidecar"},
        {"securityContext": deep()},
        used=True,
    ),
    Row(
        "gone-side-port",
        "Accepted",
        "InvalidSpec",
        {"mode": "Sidecar"},
        {"args": ["plugin", "--leader-elect"]},
    ),
)
SAMPLE: Final = tuple(
    row
    for row in ROWS
    if row.name
    in {"gone-c-used", "gone-c-image", "gone-s-deep", "gone-s-name", FOREIGN, "gone-user-secrets"}
    or row.name == "gone-side-deep"
)


def inventory(plugins: Plugins) -> set[str]:
    """Everything that the operator might have created, and CloudNativePG's pod template."""
    found = {
        f"{kind} {body['metadata']['name']}"
        for root, kind in KINDS
        for body in plugins.api.list(f"{root}/namespaces/{NAMESPACE}/{kind}")
    }
    found |= {f"{CLUSTER_WIDE} {b['metadata']['name']}" for b in plugins.api.list(CLUSTER_WIDE)}
    return {*found, json.dumps(template(plugins.api), sort_keys=True)}


@contextmanager
def foreign_service(plugins: Plugins) -> Iterator[None]:
    """Another owner's Service with the name that one plugin needs."""
    plugins.apply(service(FOREIGN))
    yield
    assert plugins.find("Service", FOREIGN) is not None


def test_every_deletion_restores_the_inventory(operator: Operator, plugins: Plugins) -> None:
    chosen = rows(ROWS, SAMPLE)
    with foreign_service(plugins):
        before = settled_inventory(plugins)
        plugins.apply(*(row.manifest for row in chosen))
        bring_about(plugins, chosen)
        for row in chosen:
            plugins.delete("CNPGPlugin", row.name)
        used = [row for row in chosen if row.used]
        for row in used:
            found = plugins.until_condition(row.name, "Accepted", "InUse", within=MINUTE)
            assert f"default/{user_of(row)}" in found["message"]
            plugins.delete("Cluster", user_of(row), "default")
        for row in chosen:
            plugins.until_gone("CNPGPlugin", row.name, within=3 * MINUTE)
        until_rolled(plugins)
        wait.until(
            "the inventory is as it was",
            lambda: inventory(plugins) == before,
            within=MINUTE,
            explain=lambda: "\n".join(sorted(inventory(plugins) ^ before)),
        )


def settled_inventory(plugins: Plugins) -> set[str]:
    """The inventory, once the objects that earlier tests deleted are gone."""
    return wait.unchanged("nothing goes any more", lambda: inventory(plugins), seconds=3, within=60)


def bring_about(plugins: Plugins, chosen: Sequence[Row]) -> None:
    """Bring each plugin, and the Clusters that use it, into its state."""
    changing = [row for row in chosen if row.becomes]
    until_ready(plugins, *(row.name for row in changing), within=(4 if THOROUGH else 3) * MINUTE)
    plugins_in_use = [row for row in chosen if row.used]
    if plugins_in_use:
        plugins.apply(*map(cluster_of, plugins_in_use))
    for row in changing:
        plugins.patch(row.name, **row.becomes)
    for row in chosen:
        plugins.until_condition(row.name, row.condition, row.reason, within=2 * MINUTE)


def user_of(row: Row) -> str:
    return f"e2e-{row.name}"


def cluster_of(row: Row) -> Object:
    """A Cluster that names the plugin; it need not run."""
    image = "localhost/no-such-postgresql:17"
    return postgres(user_of(row), plugin_name(row.name), imageName=image)
