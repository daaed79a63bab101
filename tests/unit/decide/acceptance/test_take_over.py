"""Which Service a resource may take over, by the row."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.decide.acceptance.take_over import TakeOverInput, judge_take_over
from cnpg_plugin_operator.decide.facts.take_over import Previous
from tests.support.unit.builders import cnpg, plugin

SECRETS = {"provider": "Secrets", "secrets": {"server": "old-server", "client": "old-client"}}


def judge(
    service: str,
    *,
    granted: bool = True,
    version: str = "1.30.0",
    spec: dict[str, Any] | None = None,
    announced: dict[str, str] | None = None,
    **facts: Any,
) -> str | None:
    usual = {
        names.cnpg.PLUGIN_PORT: "9090",
        names.cnpg.SERVER_SECRET: "old-server",
        names.cnpg.CLIENT_SECRET: "old-client",
    }
    known = {"published": True, "foreign": True, **facts}
    previous = Previous(service, announced={**usual, **(announced or {})}, **known)
    taking = plugin(takeOver={"serviceName": service}, **(spec or {}))
    verdict = judge_take_over(TakeOverInput(taking, previous, cnpg(version=version), granted))
    assert verdict is None or verdict.status == "False"
    return verdict.message if verdict else None


NAME = {names.cnpg.SERVER_NAME: "grpc.example.org"}
ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("another Service", "old", {}),
    ("another Service with another port", "old", {"announced": {names.cnpg.PLUGIN_PORT: "50051"}}),
    ("another Service with another server name", "old", {"announced": NAME}),
    ("another Service of an old CloudNativePG", "old", {"version": "1.24.0"}),
    ("another Service that is gone", "old", {"published": False, "foreign": False}),
    ("the same Service", "hello", {}),
    ("the same Service with its server name", "hello",
     {"announced": NAME, "spec": {"tls": {"serverName": "grpc.example.org"}}}),
    ("the same Service with a name that CloudNativePG does not read", "hello",
     {"announced": NAME, "version": "1.26.2"}),
    ("the same Service with its Secrets, of an old CloudNativePG", "hello",
     {"version": "1.24.0", "spec": {"tls": SECRETS}}),
    ("the same Service, already the plugin's own", "hello",
     {"published": False, "foreign": False, "announced": {names.cnpg.PLUGIN_PORT: "1"}}),
]  # fmt: skip

REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("without the chart's consent", "old", {"granted": False}, "chart value takeOver.allowed"),
    ("of another resource", "old", {"plugin": "other"}, "belongs to CNPGPlugin other"),
    ("that is not this plugin's", "hello", {"published": False}, "has not the label"),
    ("with another port", "hello", {"announced": {names.cnpg.PLUGIN_PORT: "50051"}},
     "announces port 50051, and spec.port is 9090"),
    ("with another server name", "hello", {"announced": NAME},
     "set spec.tls.serverName to grpc.example.org, or choose another spec.service.name"),
    ("with other Secrets, of an old CloudNativePG", "hello", {"version": "1.25.1"},
     "with server old-server and client old-client"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "facts"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)
def test_these_services_are_taken_over(service: str, facts: dict[str, Any]) -> None:
    assert judge(service, **facts) is None


@pytest.mark.parametrize(
    ("service", "facts", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_these_services_are_not_taken_over(service: str, facts: dict[str, Any], says: str) -> None:
    assert says in (judge(service, **facts) or "")
