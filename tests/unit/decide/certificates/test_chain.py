"""Which chains a resource may use: too many is harmless, too few breaks a working plugin."""

from typing import Any

import pytest

from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.decide.certificates.chain import ALL_CHAINS, find_chains
from tests.support.unit.builders import resource

CERT_MANAGER = frozenset({Provider.CERT_MANAGER})
SELF_MANAGED = frozenset({Provider.SELF_MANAGED})
NONE: frozenset[Provider] = frozenset()
OWN = {"provider": "SelfManaged"}
USER_SECRETS = {"provider": "Secrets", "secrets": {"server": "a", "client": "b"}}
ROWS: list[tuple[str, dict[str, Any], frozenset[Provider]]] = [
    ("the default", {}, CERT_MANAGER),
    ("the operator as authority", {"tls": OWN}, SELF_MANAGED),
    ("an intermediate of its own", {"tls": {**OWN, "issuerScope": "Plugin"}}, SELF_MANAGED),
    ("an issuer of the user's", {"tls": {"issuerRef": {"name": "mine"}}}, NONE),
    ("Secrets of the user's", {"tls": USER_SECRETS}, NONE),
    ("a sidecar", {"mode": "Sidecar"}, NONE),
    ("a suspended plugin", {"suspend": True, "tls": USER_SECRETS}, ALL_CHAINS),
    ("a spec that cannot be parsed", {"port": "none"}, ALL_CHAINS),
]


@pytest.mark.parametrize(
    ("spec", "chains"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_resource_uses(spec: dict[str, Any], chains: frozenset[Provider]) -> None:
    assert find_chains(resource(**spec), Provider.CERT_MANAGER) == chains


def registered(status: str, generation: int, revision: str = "r1") -> dict[str, Any]:
    condition = {"type": "Registered", "status": status, "observedGeneration": generation}
    return {"conditions": [condition], "cnpg": {"registeredRevision": revision}}


STATUSES: list[tuple[str, dict[str, Any], frozenset[Provider]]] = [
    ("registered as its spec asks for", registered("True", 2), SELF_MANAGED),
    ("registered as an earlier spec asked for", registered("True", 1), ALL_CHAINS),
    ("not yet registered again", registered("Unknown", 2), ALL_CHAINS),
    ("registered, but reported by another program", {"cnpg": {"registeredRevision": "r1"}},
     ALL_CHAINS),
    ("never registered", registered("Unknown", 2, ""), SELF_MANAGED),
    ("never reported", {}, SELF_MANAGED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "chains"), [row[1:] for row in STATUSES], ids=[row[0] for row in STATUSES]
)
def test_a_change_of_provider_keeps_both_chains_until_it_is_complete(
    status: dict[str, Any], chains: frozenset[Provider]
) -> None:
    body = {**resource(tls=OWN), "status": status}
    body["metadata"]["generation"] = 2

    assert find_chains(body, Provider.CERT_MANAGER) == chains
