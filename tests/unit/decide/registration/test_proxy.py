"""An HTTP proxy between CloudNativePG and a plugin is named, by the rules of Go."""

from dataclasses import replace

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts, CNPGEvent
from cnpg_plugin_operator.decide.registration.proxy import describe_proxy
from cnpg_plugin_operator.decide.registration.registration import decide_registration
from tests.support.unit.builders import ago, cnpg, registration

NEWER, OLDER = "1.30.0", "1.28.2"
PROXIED = replace(cnpg(), proxy="HTTPS_PROXY", unproxied=("10.0.0.0/8",))
REGISTERED = CNPGEvent(False, "PluginRegistered", "registered", ago(1))
BLOCKED = ClusterFacts("app", "db", False, "an error", None, blocked=True)


@pytest.mark.parametrize(
    ("version", "excluded", "is_proxied"),
    [
        (NEWER, "", True),
        (NEWER, "10.0.0.0/8,localhost", True),
        (NEWER, "hello", True),
        (NEWER, "ello.cnpg-system.svc", True),
        (NEWER, ".hello.cnpg-system.svc", True),
        (NEWER, "svc:9443", True),
        (NEWER, "other.svc", True),
        (NEWER, "svc", False),
        (NEWER, ".svc", False),
        (NEWER, "*.svc", False),
        (NEWER, "SVC:9090", False),
        (NEWER, "hello.cnpg-system.svc", False),
        (NEWER, "*", False),
        ("", ".svc", False),
        (OLDER, ".svc", True),
        (OLDER, "hello", False),
    ],
)
def test_a_plugin_is_called_through_a_proxy_unless_it_is_excluded(
    version: str, excluded: str, *, is_proxied: bool
) -> None:
    unproxied = tuple(filter(None, excluded.split(",")))
    facts = replace(cnpg(version=version), proxy="https_proxy", unproxied=unproxied)

    assert bool(describe_proxy(facts, "hello", "9090")) == is_proxied


def test_without_a_proxy_there_is_nothing_to_say() -> None:
    assert describe_proxy(cnpg(), "hello", "9090") == ""


def test_the_remedy_is_a_command() -> None:
    said = describe_proxy(PROXIED, "hello", "9090")

    assert said.endswith(
        f"kubectl set env deployment/{PROXIED.deployment} -n cnpg-system "
        "NO_PROXY=10.0.0.0/8,hello.cnpg-system.svc"
    )


def test_under_olm_the_remedy_is_in_the_subscription() -> None:
    said = describe_proxy(replace(PROXIED, olm="cloudnative-pg.v1.30.0"), "hello", "9090")

    assert said.endswith(
        "Add hello.cnpg-system.svc to NO_PROXY in spec.config.env of its Subscription"
    )


def test_it_is_advice_as_long_as_no_cluster_is_blocked() -> None:
    verdict = decide_registration(registration(cnpg=PROXIED, event=REGISTERED))

    assert (verdict.status, verdict.reason) == (Status.TRUE, Reason.REGISTERED)
    assert "proxy of HTTPS_PROXY" in verdict.message


def test_it_is_the_cause_if_a_cluster_is_blocked() -> None:
    verdict = decide_registration(registration(cnpg=PROXIED, event=REGISTERED, clusters=(BLOCKED,)))

    assert (verdict.status, verdict.reason) == (Status.FALSE, Reason.CLUSTERS_BLOCKED)
    assert "app/db" in verdict.message
    assert "Add hello.cnpg-system.svc to NO_PROXY" in verdict.message
