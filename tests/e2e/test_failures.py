"""Every fault is named so that a user can act on it, and recovers once the cause is fixed.

All broken plugins are applied at once and then all fixed at once: each test checks one of them.
Changes of resources, Services and pods are recorded from the start, because some states last only a
moment.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import wait
from tests.support.e2e.api import Object, Recorder
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import (
    Plugins,
    collection,
    conditions,
    is_labelled,
)
from tests.support.e2e.remains import temporary_namespace
from tests.support.resources import NAMESPACE, Manifest, behaviour, plugin, plugin_name, service

pytestmark = pytest.mark.cnpg("untouched")

SECONDS_TO_SAY_SO = 15
ELSEWHERE = "e2e-without-cnpg"


def applied(_: Object) -> bool:
    """The cause is visible as soon as the resource exists."""
    return True


def container_of(pod: Object) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])


def runs(pod: Object) -> bool:
    return "running" in container_of(pod).get("state", {})


def accepts_connections(pod: Object) -> bool:
    return bool(container_of(pod).get("ready"))


def cannot_be_pulled(pod: Object) -> bool:
    waiting = container_of(pod).get("state", {}).get("waiting", {})
    return waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff")


def ended_twice(pod: Object) -> bool:
    status = container_of(pod)
    return bool(status.get("restartCount")) and "running" not in status["state"]


def has_no_node(pod: Object) -> bool:
    found = conditions(pod).get("PodScheduled", {})
    return found.get("status") == "False"


@dataclass(frozen=True)
class Case:
    """A plugin with one fault."""

    name: str
    condition: str
    reason: str
    says: tuple[str, ...]
    """What a user needs to act."""
    spec: dict[str, Any] = field(default_factory=dict)
    fix: dict[str, Any] = field(default_factory=dict)
    """The change of the spec that fixes it; empty if other objects have to change."""
    knowable: Callable[[Object], bool] = applied
    """The state of the plugin's pod once the cause is visible."""
    namespace: str = NAMESPACE

    def __str__(self) -> str:
        return self.name

    @property
    def manifest(self) -> Manifest:
        return plugin(self.name, self.namespace, **self.spec)


def misbehaving(name: str, how: str) -> dict[str, Any]:
    return {"env": behaviour(name, SAMPLE_MISBEHAVE=how)}


def behaving(name: str) -> dict[str, Any]:
    return {"env": behaviour(name)}


OWN_ARGUMENTS = [
    "plugin",
    "--server-cert=$(CNPG_PLUGIN_SERVER_CERT)",
    "--server-key=$(CNPG_PLUGIN_SERVER_KEY)",
    "--client-cert=$(CNPG_PLUGIN_CLIENT_CERT)",
]

CASES = [
    Case(
        name="other-name",
        condition="HandshakeSucceeded",
        reason="IdentityMismatch",
        says=("nobody.example.com", plugin_name("other-name")),
        spec={"env": [{"name": "SAMPLE_NAME", "value": "nobody.example.com"}]},
        fix=behaving("other-name"),
        knowable=accepts_connections,
    ),
    Case(
        name="silent",
        condition="HandshakeSucceeded",
        reason="NoAnswer",
        says=("silent.cnpg-system.svc", "5 s"),
        spec=misbehaving("silent", "hang"),
        fix=behaving("silent"),
        knowable=accepts_connections,
    ),
    Case(
        name="incapable",
        condition="HandshakeSucceeded",
        reason="CapabilityFailed",
        says=("WAL",),
        spec=misbehaving("incapable", "failing-capability"),
        fix=behaving("incapable"),
        knowable=accepts_connections,
    ),
    Case(
        name="unhealthy",
        condition="HandshakeSucceeded",
        reason="NotServing",
        says=("grpc.health.v1",),
        spec={"env": behaviour("unhealthy", SAMPLE_HEALTH="not-serving")},
        fix={"env": behaviour("unhealthy", SAMPLE_HEALTH="serving")},
        knowable=accepts_connections,
    ),
    Case(
        name="no-image",
        condition="Available",
        reason="ImagePullError",
        says=("localhost/no-such-image:1", "spec.image"),
        spec={"image": "localhost/no-such-image:1"},
        fix={"image": plugin("x")["spec"]["image"]},
        knowable=cannot_be_pulled,
    ),
    Case(
        name="deaf",
        condition="Available",
        reason="NotListening",
        says=("port 9090", "spec.port", "kubectl logs deaf-"),
        spec=misbehaving("deaf", "no-listen"),
        fix=behaving("deaf"),
        knowable=runs,
    ),
    Case(
        name="wrong-port",
        condition="Available",
        reason="NotListening",
        says=("port 9090", "spec.serverArguments"),
        spec={
            "serverArguments": "None",
            "args": [*OWN_ARGUMENTS, "--server-address=:9999"],
        },
        fix={"args": [*OWN_ARGUMENTS, "--server-address=$(CNPG_PLUGIN_ADDRESS)"]},
        knowable=runs,
    ),
    Case(
        name="crashing",
        condition="Available",
        reason="CrashLoop",
        says=("exits with code 1", "kubectl logs crashing-", "-n cnpg-system", "--previous"),
        spec=misbehaving("crashing", "no-such-behaviour"),
        fix=behaving("crashing"),
        knowable=ended_twice,
    ),
    Case(
        name="homeless",
        condition="Available",
        reason="Unschedulable",
        says=("cannot be scheduled", "node affinity/selector"),
        spec={"nodeSelector": {"example.com/no-such-node": "true"}},
        fix={"nodeSelector": None},
        knowable=has_no_node,
    ),
    Case(
        name="no-issuer",
        condition="CertificatesReady",
        reason="IssuerNotReady",
        says=("Issuer e2e-missing", "create it"),
        spec={"tls": {"issuerRef": {"name": "e2e-missing"}}},
    ),
    Case(
        name="misplaced",
        condition="Accepted",
        reason="CNPGNotFound",
        says=(ELSEWHERE, "it runs in cnpg-system"),
        namespace=ELSEWHERE,
    ),
    Case(
        name="taken",
        condition="Accepted",
        reason="NameConflict",
        says=("Service cnpg-system/taken", "spec.service.name"),
    ),
    Case(
        name="impersonated",
        condition="Accepted",
        reason="NameConflict",
        says=("Service cnpg-system/e2e-impersonator", "set spec.takeOver.serviceName"),
    ),
    Case(
        name="rival-younger",
        condition="Accepted",
        reason="NameConflict",
        says=("rival-elder", plugin_name("rival-elder"), "delete one of the two"),
        spec={"pluginName": plugin_name("rival-elder"), "env": behaviour("rival-elder")},
    ),
]

FOREIGN = [
    service("taken"),
    service("e2e-impersonator", labels={"cnpg.io/pluginName": plugin_name("impersonated")}),
]
ELDER = plugin("rival-elder")
ISSUER: Manifest = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Issuer",
    "metadata": {"name": "e2e-missing", "namespace": NAMESPACE},
    "spec": {"selfSigned": {}},
}


@dataclass(frozen=True)
class Records:
    """What happened since the broken plugins were applied."""

    plugins: Plugins
    resources: Recorder
    misplaced: Recorder
    pods: Recorder
    services: Recorder

    def resource(self, case: Case) -> Recorder:
        return self.resources if case.namespace == NAMESPACE else self.misplaced

    def knowable_at(self, case: Case) -> float | None:
        if case.knowable is applied:
            changes = self.resource(case).of(case.name)
            return changes[0].at if changes else None
        return self.pods.first(
            lambda pod: (
                pod["metadata"]["labels"].get("cnpgplugin.dev/name") == case.name
                and case.knowable(pod)
            )
        )

    def said_at(self, case: Case) -> float | None:
        def says(resource: Object) -> bool:
            found = conditions(resource).get(case.condition, {})
            named = resource["metadata"]["name"] == case.name
            return named and found.get("reason") == case.reason

        return self.resource(case).first(says)


@pytest.fixture(scope="module")
def broken(operator: Operator, module_plugins: Plugins) -> Iterator[Records]:
    """All faulty plugins, applied together."""
    with ExitStack() as stack:
        stack.enter_context(temporary_namespace(operator.cluster, ELSEWHERE))
        # Before the namespace, whatever happens: a plugin in it waits for the operator.
        stack.callback(module_plugins.clean_up)
        watched = (
            collection("CNPGPlugin"),
            collection("CNPGPlugin", ELSEWHERE),
            collection("Pod"),
            collection("Service"),
        )
        module_plugins.apply(*FOREIGN, ELDER)
        module_plugins.until_ready("rival-elder")
        recorders = [stack.enter_context(Recorder(operator.api, path)) for path in watched]
        module_plugins.apply(*(case.manifest for case in CASES))
        yield Records(module_plugins, *recorders)


@pytest.fixture(scope="module")
def fixed(broken: Records) -> Plugins:
    """The same plugins, all fixed together."""
    plugins = broken.plugins
    for case in CASES:
        if case.fix:
            plugins.patch(case.name, **case.fix)
    for foreign in FOREIGN:
        plugins.delete("Service", foreign["metadata"]["name"])
    plugins.delete("CNPGPlugin", "rival-elder")
    plugins.delete("CNPGPlugin", "misplaced", ELSEWHERE)
    plugins.apply(ISSUER, plugin("misplaced"))
    return plugins


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cause_is_reported_within_15_seconds_of_its_appearance(
    broken: Records, case: Case
) -> None:
    plugins = broken.plugins

    def explain() -> str:
        return plugins.explain(case.name, case.namespace)

    knowable = wait.until(
        "the cause can be seen", lambda: broken.knowable_at(case), within=90, explain=explain
    )
    said = wait.until(
        f"{case.condition} says {case.reason}",
        lambda: broken.said_at(case),
        within=2 * SECONDS_TO_SAY_SO,
        explain=explain,
    )
    assert said - knowable <= SECONDS_TO_SAY_SO * wait.PATIENCE
    found = plugins.condition(case.name, case.condition, case.namespace)
    assert (found["status"], found["reason"]) == ("False", case.reason), explain()
    for words in case.says:
        assert words in found["message"]
    ready = plugins.condition(case.name, "Ready", case.namespace)
    assert ready["status"] == "False"
    assert (ready["reason"], ready["message"]) == (found["reason"], found["message"])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_plugin_is_never_announced(broken: Records, case: Case) -> None:
    """Runs after all causes were reported: every change of a Service was recorded until then."""
    shown = [
        change.object["metadata"]
        for change in broken.services.changes
        if is_labelled(change.object)
        and change.object["metadata"]["labels"].get("cnpgplugin.dev/name") == case.name
    ]
    assert shown == []


def test_a_broken_plugin_gets_one_event(broken: Records) -> None:
    uid = broken.plugins.plugin("other-name")["metadata"]["uid"]
    events = broken.plugins.api.list(collection("Event"), fieldSelector=f"involvedObject.uid={uid}")
    reported = [(event["type"], event["reason"]) for event in events]
    assert reported == [("Warning", "IdentityMismatch")]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plugin_becomes_ready_once_its_fault_is_fixed(fixed: Plugins, case: Case) -> None:
    fixed.until_ready(case.name, within=90)
    assert fixed.labelled(case.name)
