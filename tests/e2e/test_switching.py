"""A live plugin changes its provider, its issuer, its keys and its names, and no call fails.

Three plugins, called four times a second with CloudNativePG's rules, go through their switches
concurrently. A switch is over when CloudNativePG presents, and the plugin serves, certificates of
the new kind. Only where the pods have to mount other Secrets and may not overlap (strategy
Recreate, the default) calls may fail, for as long as the pod's restart takes: Kubernetes changes
what a pod mounts by creating another pod.
"""

from pathlib import Path

import pytest

from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.issuers import TLS, ca_issuer, client_pair, secret, server_pair
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.e2e.probe import Probe
from tests.support.e2e.switching import Kind, Outcome, Switch, Switching
from tests.support.resources import plugin
from tests.support.tls.certificates import authority

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

ISSUERS, PROVIDERS, NAMES = "switch-issuers", "switch-providers", "switch-names"
UNREAD = "switch-unread"
LANES = (ISSUERS, PROVIDERS, NAMES)

DEFAULT_CHAIN, OWN_CHAIN = "cnpg-plugins", "cnpg-plugins-selfmanaged"
USERS_ROOT, USERS_INTERMEDIATE = "users-root", "users-intermediate"

RESTARTED_WITHIN = 30.0
"""Seconds for which calls may fail while a pod is replaced without an overlap."""

OVERLAPPING = {
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    # Kubernetes ends a pod while it is still in the Service, so the pod has to wait.
    "podTemplate": {
        "spec": {
            "containers": [{"name": "plugin", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]
        }
    },
}
"""Pods that can be replaced without an outage."""

SWITCHES = (
    Switch(
        ISSUERS,
        "default chain to a user's intermediate",
        {"issuerRef": {"name": USERS_INTERMEDIATE}},
        Kind(USERS_INTERMEDIATE),
    ),
    Switch(ISSUERS, "a user's intermediate to the default chain", {"issuerRef": None}),
    Switch(
        ISSUERS,
        "an issuer that cannot work",
        {"issuerRef": {"name": USERS_ROOT}},
        refused=True,
    ),
    Switch(
        ISSUERS, "the same issuer with clientTrust: Root", {"clientTrust": "Root"}, Kind(USERS_ROOT)
    ),
    Switch(
        ISSUERS,
        "a user's root to the default chain",
        {"issuerRef": None, "clientTrust": None},
    ),
    Switch(PROVIDERS, "CertManager to SelfManaged", {"provider": "SelfManaged"}, Kind(OWN_CHAIN)),
    Switch(PROVIDERS, "SelfManaged to CertManager", {"provider": "CertManager"}),
    Switch(
        PROVIDERS,
        "CertManager to Secrets, pods overlapping",
        {
            "provider": "Secrets",
            "secrets": {"server": "overlapping-server", "client": "overlapping-client"},
        },
        Kind(USERS_INTERMEDIATE),
    ),
    Switch(
        PROVIDERS,
        "Secrets to SelfManaged, pods overlapping",
        {"provider": "SelfManaged", "secrets": None},
        Kind(OWN_CHAIN),
    ),
    Switch(
        NAMES,
        "CertManager to Secrets, the pod replaced",
        {
            "provider": "Secrets",
            "secrets": {"server": "replacing-server", "client": "replacing-client"},
        },
        Kind(USERS_INTERMEDIATE),
        outage=RESTARTED_WITHIN,
    ),
    Switch(
        NAMES,
        "Secrets to CertManager, the pod replaced",
        {"provider": "CertManager", "secrets": None},
        outage=RESTARTED_WITHIN,
    ),
    Switch(NAMES, "ECDSA to RSA", {"privateKey": {"algorithm": "RSA"}}, Kind(key="RSA")),
    Switch(
        NAMES,
        "a further DNS name",
        {"dnsNames": ["further.example.com"]},
        Kind(key="RSA", name="further.example.com"),
    ),
    Switch(
        NAMES,
        "another server name",
        {"serverName": "other.example.com"},
        Kind(key="RSA", name="other.example.com", server_name="other.example.com"),
    ),
    Switch(
        NAMES,
        "the Service's name and ECDSA again",
        {"serverName": None, "dnsNames": None, "privateKey": None},
    ),
)


@pytest.fixture(scope="module")
def user_secrets(module_plugins: Plugins) -> None:
    """What users provide: a root, an intermediate, both as issuers, and pairs in Secrets."""
    root = authority(USERS_ROOT)
    intermediate = authority(USERS_INTERMEDIATE, root)
    module_plugins.apply(
        *ca_issuer(USERS_ROOT, root),
        *ca_issuer(USERS_INTERMEDIATE, intermediate),
        secret("overlapping-server", server_pair(intermediate, PROVIDERS).secret, TLS),
        secret("overlapping-client", client_pair(intermediate).secret, TLS),
        secret("replacing-server", server_pair(intermediate, NAMES).secret, TLS),
        secret("replacing-client", client_pair(intermediate).secret, TLS),
    )


@pytest.fixture(scope="module")
def switching(
    operator: Operator,
    user_secrets: None,
    module_plugins: Plugins,
    tmp_path_factory: pytest.TempPathFactory,
) -> Switching:
    """All completed switches: those of one plugin in sequence, those of several concurrently."""
    module_plugins.apply(plugin(ISSUERS), plugin(PROVIDERS, **OVERLAPPING), plugin(NAMES))
    module_plugins.until_ready(*LANES)
    peers = Peers(operator.cluster, operator.api)
    with Probe(operator.cluster, tmp_path_factory.mktemp("probe"), LANES) as probe:
        done = Switching(module_plugins, peers, probe)
        done.carry_out(SWITCHES)
    for lane in LANES:
        print(probe.calls(lane))
    return done


def carried_out(switching: Switching, switch: Switch) -> Outcome:
    """The result of a switch; those that were not reached have failed as well."""
    outcome = switching.outcomes.get(switch)
    if outcome is None:
        pytest.fail("an earlier switch of the same plugin failed", pytrace=False)
    if outcome.problem:
        pytest.fail(outcome.problem, pytrace=False)
    return outcome


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_calls_are_answered_while_a_plugin_is_switched(
    switching: Switching, switch: Switch
) -> None:
    outcome = carried_out(switching, switch)
    calls = switching.probe.calls(switch.lane, outcome.began, outcome.ended)
    if switch.outage:
        assert calls.longest_outage <= switch.outage * wait.PATIENCE, str(calls)
    else:
        assert not calls.failed, str(calls)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_no_call_fails_once_a_switched_plugin_is_ready(
    switching: Switching, switch: Switch
) -> None:
    outcome = carried_out(switching, switch)
    calls = switching.probe.calls(switch.lane, outcome.ready, outcome.ended)
    assert calls.calls
    assert not calls.failed, str(calls)


def until_presented(operator: Operator, peers: Peers) -> None:
    """Wait until the certificate is issued, and make the kubelet deliver it at once."""
    issuer = peers.certificates(USERS_INTERMEDIATE)[0].subject

    def issued() -> bool:
        return peers.certificates(f"{UNREAD}-server-tls")[0].issuer == issuer

    def presented() -> bool:
        shown = peers.served(UNREAD)
        return shown is not None and shown.issuer == issuer

    wait.until("the certificate is issued", issued, within=30)
    pods = operator.api.list(collection("Pod"), labelSelector=f"cnpgplugin.dev/name={UNREAD}")
    for pod in pods:
        touched = {"metadata": {"annotations": {"example.com/touched": "once"}}}
        operator.api.patch(f"{collection('Pod')}/{pod['metadata']['name']}", touched)
    wait.until("the pod presents it", presented, within=30, explain=lambda: peers.explain(UNREAD))


def test_no_call_fails_while_pods_present_what_the_operator_has_not_read_yet(
    operator: Operator, user_secrets: None, plugins: Plugins, tmp_path: Path
) -> None:
    """A kubelet may deliver the first certificate of a new issuer the moment it is issued."""
    certificate = f"{collection('Certificate')}/{UNREAD}-server-tls"
    plugins.apply(plugin(UNREAD))
    plugins.until_ready(UNREAD)
    peers = Peers(operator.cluster, operator.api)
    with Probe(operator.cluster, tmp_path, [UNREAD]) as probe:
        began = probe.until_answered(UNREAD)
        plugins.patch(UNREAD, tls={"issuerRef": {"name": USERS_INTERMEDIATE}})
        wait.until(
            "the certificate is asked for",
            lambda: operator.api.get(certificate)["spec"]["issuerRef"]["name"] != DEFAULT_CHAIN,
            within=30,
            pause=0.005,
        )
        with operator.paused():
            until_presented(operator, peers)
            probe.until_answered(UNREAD, within=15)
        plugins.until_ready(UNREAD)
        calls = probe.calls(UNREAD, began, probe.until_answered(UNREAD))
    assert not calls.failed, str(calls)
