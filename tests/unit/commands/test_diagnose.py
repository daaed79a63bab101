"""`diagnose` says what the operator's next passes would do, and does none of it."""

import json
from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.commands.diagnose import compose, render_json, render_text
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.reconcile.diagnosis import NamespaceDiagnosis
from cnpg_plugin_operator.settings import Settings
from tests.support.unit.fed_facts import FedFacts
from tests.support.unit.stage.hosting import HostingStage
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.world import NAMESPACE

UNREACHABLE = HandshakeOutcome(Reason.UNREACHABLE, "no route to host")


async def diagnose(
    stage: Stage, *names: str, calls: bool = True, kubeconfig: str | None = None
) -> NamespaceDiagnosis:
    """Diagnose the stage's namespace; fail where anything was written."""
    settings = Settings(
        (NAMESPACE,), pace=stage.pace, grants=stage.grants, gate=stage.gate, kubeconfig=kubeconfig
    )
    before = [*stage.client.writes], stage.client.dry_runs
    shaker = stage.handshaker if calls else None
    found = await compose(
        settings, stage.client, FedFacts(stage.client), shaker, stage.clock
    ).diagnose(NAMESPACE, names)
    assert ([*stage.client.writes], stage.client.dry_runs) == before
    text, document = render_text([found]), render_json([found])
    assert "PRIVATE KEY" not in text + document
    return found


def lines(found: NamespaceDiagnosis) -> list[str]:
    return [line.strip() for line in render_text([found]).splitlines()]


@pytest.fixture
async def ready() -> Stage:
    stage = Stage()
    stage.create()
    await stage.settle()
    assert stage.condition() == ("True", "Ready")
    return stage


async def test_a_ready_plugin_is_as_wanted(ready: Stage) -> None:
    found = await diagnose(ready)

    assert found.is_as_wanted
    assert found.is_read
    told = lines(found)
    assert sum(" True " in line for line in told) == 5
    assert told.count("nothing to write") == 2
    assert not any("the status says" in line for line in told)
    assert any("version 1.30.0" in line for line in told)
    assert not any("runbook" in line for line in told)


async def test_a_new_resource_is_told_up_to_where_others_have_to_act() -> None:
    stage = Stage()
    stage.create()
    found = await diagnose(stage)

    assert not found.is_as_wanted
    told = lines(found)
    assert f"would patch CNPGPlugin {NAMESPACE}/hello: add the operator's finalizer" in told
    assert f"would create Certificate {NAMESPACE}/hello-server-tls" in " ".join(told)
    assert not any("create Deployment" in line for line in told)
    assert any(line.startswith("CertificatesReady  Unknown Issuing") for line in told)
    assert "runbook: https://cnpgplugin.dev/runbooks/#issuing" in told


async def test_a_new_resource_with_own_certificates_is_told_up_to_its_chain() -> None:
    stage = Stage()
    stage.create(tls={"provider": "SelfManaged"})
    found = await diagnose(stage)
    root = f"{NAMESPACE}/{names.children.OWN_ROOT}"

    assert f"would create Secret {root}: issue a certificate with a new key" in lines(found)
    assert any(line.startswith("CertificatesReady  Unknown Issuing") for line in lines(found))
    assert stage.secrets() == set()


async def test_a_further_resource_with_own_certificates_is_told_up_to_its_pods() -> None:
    stage = Stage()
    stage.create(tls={"provider": "SelfManaged"})
    await stage.settle()
    stage.create("other", tls={"provider": "SelfManaged"})
    before = stage.secrets()
    told = " ".join(lines(await diagnose(stage, "other")))

    assert "would create Secret cnpg-system/other-server-tls: issue a certificate" in told
    assert "would create Deployment cnpg-system/other" in told
    assert "would create Service cnpg-system/other" in told
    assert "Available          Unknown RolloutInProgress" in told
    assert stage.secrets() == before


async def test_a_change_by_another_party_is_named_with_both_values(ready: Stage) -> None:
    ready.client.the(kinds.DEPLOYMENT, "hello")["spec"]["replicas"] = 3
    found = await diagnose(ready)

    assert not found.is_as_wanted
    assert f"would apply Deployment {NAMESPACE}/hello: spec.replicas 3 → 1" in lines(found)


async def test_no_value_of_a_secret_is_told(ready: Stage) -> None:
    data = ready.client.the(kinds.SECRET, "hello-trust")["data"]
    data["tls.crt"] = "c3dvcmRmaXNo"
    found = await diagnose(ready)
    told = render_text([found]) + render_json([found])

    assert f"would apply Secret {NAMESPACE}/hello-trust: data.tls.crt" in lines(found)
    assert "c3dvcmRmaXNo" not in told
    assert "swordfish" not in told


async def test_a_broken_plugin_is_told_with_what_the_status_still_says(ready: Stage) -> None:
    ready.handshaker.outcome = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "It is another one.")
    found = await diagnose(ready)
    told = lines(found)

    assert "HandshakeSucceeded False IdentityMismatch: It is another one." in told
    assert "the status says  True Identified: answered" in told
    assert "Registered         not judged: the pass ends before it" in told
    assert not found.is_as_wanted


@pytest.mark.parametrize(
    ("calls", "outcome", "why"),
    [
        (False, None, "no handshake was asked for"),
        (True, UNREACHABLE, "the plugin cannot be reached from here (no route to host)"),
    ],
    ids=["not asked for", "out of reach"],
)
async def test_without_a_handshake_the_status_counts(
    ready: Stage, *, calls: bool, outcome: HandshakeOutcome | None, why: str
) -> None:
    ready.handshaker.outcome = outcome
    found = await diagnose(ready, calls=calls, kubeconfig="some")

    assert found.is_as_wanted
    assert f"As the status says, for {why}: answered" in " ".join(render_text([found]).split())


async def test_in_the_cluster_an_unreachable_plugin_is_unreachable(ready: Stage) -> None:
    ready.handshaker.outcome = UNREACHABLE
    found = await diagnose(ready)

    assert "HandshakeSucceeded Unknown Unreachable: no route to host" in lines(found)


async def test_without_handshake_and_status_the_diagnosis_ends_there() -> None:
    stage = Stage()
    stage.create()
    stage.handshaker.outcome = UNREACHABLE
    await stage.settle(passes=4)
    stage.client.the(kinds.PLUGIN, "hello").pop("status")
    found = await diagnose(stage, calls=False)

    assert "run this command in the operator's pod" in found.plugins[0].then
    assert not found.is_as_wanted


async def test_a_restart_that_is_due_is_told_with_its_plugins() -> None:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await stage.settle(passes=8)
    waiting = await diagnose(stage)
    stage.clock.pass_by(15)
    due = await diagnose(stage)

    assert any(line.startswith("restart: Wait for hello") for line in lines(waiting))
    assert any(line.startswith("restart: Restart for hello") for line in lines(due))
    assert f"would patch Deployment {NAMESPACE}/cnpg: restart CloudNativePG" in lines(due)
    assert not due.is_as_wanted


async def test_sidecars_are_judged_as_the_namespace_does() -> None:
    stage = HostingStage()
    stage.create()
    new = await diagnose(stage)
    await stage.until()
    done = await diagnose(stage)

    assert any("sidecars hello: " in line for line in lines(new))
    assert not new.is_as_wanted
    assert done.is_as_wanted, render_text([done])


async def test_only_sidecars_are_called_sidecars() -> None:
    stage = HostingStage()
    stage.create()
    stage.create("beside", pluginName="beside.example.org", mode="Standalone")
    found = await diagnose(stage)

    told = [line for line in lines(found) if line.startswith("sidecars ")]
    assert told
    assert all(line.startswith("sidecars hello: ") for line in told)


async def test_a_suspension_is_told_as_what_comes_first(ready: Stage) -> None:
    ready.edit(suspend=True, image="example.org/hello:2")
    found = await diagnose(ready)

    assert "then: unset spec.suspend: the operator changes nothing" in lines(found)
    assert found.writes == ()
    assert found.is_as_wanted, "A suspended plugin is as its user wants it."


async def test_only_named_plugins_are_told(ready: Stage) -> None:
    ready.create("other")
    found = await diagnose(ready, "hello")

    assert [each.name for each in found.plugins] == ["hello"]


async def test_a_deletion_is_told(ready: Stage) -> None:
    ready.delete()
    found = await diagnose(ready)

    assert f"would delete Service {NAMESPACE}/hello: it is no longer wanted" in lines(found)
    assert not found.is_as_wanted
    assert ("Service", NAMESPACE, "hello") in ready.client.objects


async def test_a_missing_right_is_a_line(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    words = 'pods is forbidden: User "me" cannot list resource "pods"'
    whole = ready.client.list

    async def refuse(kind: kinds.Kind, *args: Any, **options: Any) -> Any:
        if kind is kinds.POD and names.labels.PLUGIN in (options.get("labels") or ""):
            raise errors.ForbiddenError(words)
        return await whole(kind, *args, **options)

    monkeypatch.setattr(ready.client, "list", refuse)
    found = await diagnose(ready)

    assert f"could not be read: Available: {words}" in lines(found)
    assert not found.is_read


async def test_the_json_has_what_programs_need(ready: Stage) -> None:
    ready.client.the(kinds.DEPLOYMENT, "hello")["spec"]["replicas"] = 3
    document = json.loads(render_json([await diagnose(ready)]))
    (plugin,) = document["plugins"]

    assert plugin["asWanted"] is False
    assert plugin["writes"] == [
        {
            "verb": "apply",
            "kind": "Deployment",
            "namespace": NAMESPACE,
            "name": "hello",
            "changes": ["spec.replicas 3 → 1"],
        }
    ]
    assert plugin["runbook"] == "https://cnpgplugin.dev/runbooks/#rolloutinprogress"
    assert plugin["conditions"][0]["decided"]["reason"] == "Accepted"
    assert plugin["conditions"][0]["reported"]["status"] == "True"


async def test_a_resource_elsewhere_is_told_where_it_belongs(ready: Stage) -> None:
    """The operator has no rights there, and needs none."""
    body = ready.client.the(kinds.PLUGIN, "hello")
    elsewhere = {"name": "hello", "namespace": "elsewhere"}
    ready.client.put(kinds.PLUGIN, {**body, "metadata": elsewhere, "status": {}})
    settings = Settings((NAMESPACE,))
    found = await compose(
        settings, ready.client, FedFacts(ready.client), None, ready.clock
    ).diagnose("elsewhere", ["hello"])

    assert found.is_read
    assert not found.is_as_wanted
    told = lines(found)
    assert "CloudNativePG: not looked for: the operator does not manage this namespace" in told
    assert any("Accepted           False CNPGNotFound" in line for line in told)
    assert "it runs in cnpg-system: create the resource there" in " ".join(told)
