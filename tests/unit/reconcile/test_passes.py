import asyncio
import logging

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Type
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from cnpg_plugin_operator.reconcile.environment import REGISTRATION
from tests.support.unit.builders import resource
from tests.support.unit.stage.stage import OPERATOR_PODS, Stage
from tests.support.unit.stage.world import NAMESPACE


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_resource_becomes_ready(stage: Stage) -> None:
    stage.create()
    await stage.settle()

    assert stage.condition() == ("True", "Ready")
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    assert status["plugin"]["version"] == "1.0.0"
    assert status["cnpg"]["version"] == "1.30.0"
    assert status["certificates"].keys() == {"server", "client"}


async def test_a_quiet_pass_writes_nothing_and_calls_no_plugin(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.client.writes.clear()
    asked = len(stage.handshaker.asked)

    after = await stage.run_pass((NAMESPACE, "hello"))

    assert stage.client.writes == []
    assert len(stage.handshaker.asked) == asked
    assert after is not None
    assert after > 500


async def test_a_new_process_calls_the_plugin_once_and_writes_nothing(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.client.writes.clear()
    stage.reconciler, stage.handshaker.asked = stage.operator(), []

    await stage.visit()
    await stage.visit()

    assert stage.client.writes == []
    assert len(stage.handshaker.asked) == 1


async def test_the_first_plugin_of_a_namespace_costs_at_most_fifteen_writes(stage: Stage) -> None:
    stage.create()
    await stage.settle()

    assert len(stage.client.writes) <= 15


async def test_cloudnativepg_never_sees_a_plugin_that_does_not_answer(stage: Stage) -> None:
    stage.handshaker.outcome = HandshakeOutcome(Reason.IDENTITY_MISMATCH, "another name")
    stage.create()
    await stage.settle()

    assert stage.condition() == ("False", "IdentityMismatch")
    assert names.cnpg.PLUGIN_NAME not in stage.service()["labels"]


async def test_a_working_plugin_keeps_its_label_while_it_fails(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    published = stage.service()
    stage.handshaker.outcome = HandshakeOutcome(Reason.NO_ANSWER, "silence")
    stage.clock.pass_by(700)
    await stage.settle()

    assert stage.condition() == ("False", "NoAnswer")
    assert stage.service()["labels"] == published["labels"]
    assert stage.service()["annotations"] == published["annotations"]


async def test_a_plugin_recovers_by_itself_once_its_failure_is_fixed(stage: Stage) -> None:
    stage.handshaker.outcome = HandshakeOutcome(Reason.CAPABILITY_FAILED, "WAL")
    stage.create()
    await stage.settle()
    stage.handshaker.outcome = None
    stage.clock.pass_by(20)
    await stage.settle()

    assert stage.condition() == ("True", "Ready")


async def test_without_cert_manager_nothing_is_created_and_the_status_says_why(
    stage: Stage,
) -> None:
    stage.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    stage.create()
    await stage.settle(passes=3)
    refused = stage.condition("CertificatesReady")
    stage.client.missing = set()
    await stage.settle()

    assert refused == ("False", "CertManagerNotInstalled")
    assert stage.condition() == ("True", "Ready")


@pytest.mark.parametrize("kind", [kinds.DEPLOYMENT, kinds.SERVICE, kinds.CERTIFICATE])
async def test_a_deleted_child_is_recreated(stage: Stage, kind: kinds.Kind) -> None:
    stage.create()
    await stage.settle()
    name = "hello-server-tls" if kind is kinds.CERTIFICATE else "hello"
    await stage.client.delete(kind, name, NAMESPACE)
    await stage.settle()

    assert (kind.kind, NAMESPACE, name) in stage.client.objects
    assert stage.condition() == ("True", "Ready")


async def test_an_edited_child_is_restored(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.client.the(kinds.SERVICE, "hello")["spec"]["ports"][0]["port"] = 1
    stage.client.the(kinds.SERVICE, "hello")["metadata"]["labels"].pop(names.cnpg.PLUGIN_NAME)
    await stage.settle()

    assert stage.client.the(kinds.SERVICE, "hello")["spec"]["ports"][0]["port"] == 9090
    assert names.cnpg.PLUGIN_NAME in stage.service()["labels"]


async def test_a_renamed_service_replaces_the_previous_one(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.edit(service={"name": "other"})
    await stage.client.delete(kinds.SECRET, "hello-server-tls", NAMESPACE)
    # The pod gets the certificate for the new name within a minute.
    await stage.settle(seconds=10)

    assert ("Service", NAMESPACE, "hello") not in stage.client.objects
    assert names.cnpg.PLUGIN_NAME in stage.service("other")["labels"]


async def test_a_foreign_service_is_neither_touched_nor_adopted(stage: Stage) -> None:
    foreign = {"metadata": {"name": "hello", "namespace": NAMESPACE}, "spec": {}}
    stage.client.put(kinds.SERVICE, foreign)
    stage.create()
    await stage.settle(passes=3)
    refused = stage.condition("Accepted")
    await stage.client.delete(kinds.SERVICE, "hello", NAMESPACE)
    await stage.settle()

    assert refused == ("False", "NameConflict")
    assert stage.condition() == ("True", "Ready")


async def test_the_younger_of_two_resources_with_one_plugin_name_waits(stage: Stage) -> None:
    stage.create("hello", pluginName="same.example.org")
    stage.create("other", pluginName="same.example.org")
    await stage.settle("other", passes=3)
    await stage.settle("hello")

    assert stage.condition("Accepted", "other") == ("False", "NameConflict")
    assert stage.condition("Ready", "hello") == ("True", "Ready")


def image(stage: Stage) -> str:
    """The image of the plugin's pods."""
    pod = stage.client.the(kinds.DEPLOYMENT, "hello")["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


async def test_a_suspended_resource_is_left_alone(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.edit(suspend=True, image="example.org/hello:2")
    await stage.settle()
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]

    assert image(stage) == "example.org/hello:1"
    assert stage.condition("Suspended") == ("True", "Suspended")
    assert stage.condition("Ready") == ("True", "Ready")
    assert status["observedGeneration"] == 2
    generations = {c["type"]: c["observedGeneration"] for c in status["conditions"]}
    assert generations.pop("Suspended") == 2
    assert set(generations.values()) == {1}, "none was evaluated for the change"

    stage.edit(suspend=False)
    await stage.settle()
    assert image(stage) == "example.org/hello:2"
    types = [c["type"] for c in stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"]]
    assert "Suspended" not in types


async def test_a_resource_suspended_from_the_start_creates_nothing(stage: Stage) -> None:
    stage.create(suspend=True)
    await stage.settle()
    await stage.settle()

    assert stage.condition("Suspended") == ("True", "Suspended")
    assert stage.condition("Accepted") == ("Unknown", "Suspended")
    assert stage.condition("Ready") == ("Unknown", "Suspended")
    assert stage.condition("Available") == ("Unknown", "NotYetReported")
    assert "Deployment hello" not in stage.client.writes


async def test_what_protects_the_pods_is_made_and_pruned(stage: Stage) -> None:
    stage.create(networkPolicy={"enabled": True}, podDisruptionBudget={"minAvailable": 1})
    await stage.settle()
    policy = stage.client.the(kinds.NETWORK_POLICY, "hello")["spec"]

    assert stage.condition() == ("True", "Ready")
    assert stage.client.the(kinds.POD_DISRUPTION_BUDGET, "hello")["spec"]["minAvailable"] == 1
    cnpg, operator = policy["ingress"][0]["from"]
    assert cnpg["podSelector"] == stage.client.the(kinds.DEPLOYMENT, "cnpg")["spec"]["selector"]
    assert operator["podSelector"]["matchLabels"] == OPERATOR_PODS.labels

    stage.edit(networkPolicy={"enabled": False}, podDisruptionBudget=None)
    await stage.settle()
    left = {kind for kind, _, _ in stage.client.objects}
    assert not {"NetworkPolicy", "PodDisruptionBudget"} & left


async def test_an_invalid_spec_is_reported(stage: Stage) -> None:
    stage.create(port="none")
    await stage.settle(passes=2)

    assert stage.condition("Accepted") == ("False", "InvalidSpec")


async def test_a_new_image_is_announced_once(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    before = stage.service()["annotations"][names.annotations.REVISION]
    stage.client.writes.clear()
    stage.edit(image="example.org/hello:2")
    await stage.settle()

    assert stage.service()["annotations"][names.annotations.REVISION] != before
    assert stage.client.writes.count("Service hello") == 1
    assert stage.condition() == ("True", "Ready")


async def test_a_registration_is_left_to_its_event_and_reported_only_if_that_is_late(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.create()
    await stage.settle()
    monkeypatch.setattr(stage.world, "register", lambda: None)
    stage.edit(image="example.org/hello:2")
    await stage.settle(passes=3)
    stage.client.writes.clear()

    assert await stage.visit() == REGISTRATION
    assert stage.client.writes == []
    await stage.settle(passes=6)
    assert stage.condition() == ("Unknown", "Reregistering")


async def test_always_restarts_cloudnativepg_once_after_settling(stage: Stage) -> None:
    stage.create(cnpg={"restartPolicy": "Always"})
    await stage.settle(passes=8)
    pending = stage.condition("Registered")
    before = dict(stage.restarted)
    stage.clock.pass_by(15)
    await stage.settle(passes=3)
    stage.client.writes.clear()
    await stage.settle(passes=5)

    assert pending == ("Unknown", "RestartPending")
    assert before == {}
    assert "hello" in stage.restarted[names.annotations.RESTARTED_FOR]
    assert "Deployment cnpg" not in stage.client.writes
    assert stage.condition("Registered") == ("Unknown", "Restarting")


@pytest.mark.parametrize(("trouble_for", "annotations"), [(20, 0), (100, 2)])
async def test_a_restart_waits_for_a_late_plugin_but_not_for_a_broken_one(
    stage: Stage, trouble_for: float, annotations: int
) -> None:
    stage.create("late", cnpg={"restartPolicy": "Always"})
    stage.handshaker.outcome = HandshakeOutcome(Reason.NO_ANSWER, "silence")
    await stage.settle("late")
    stage.clock.pass_by(trouble_for)
    stage.handshaker.outcome = None
    stage.create("hello", cnpg={"restartPolicy": "Always"})
    await stage.settle("hello")
    stage.clock.pass_by(15)
    await stage.settle("hello", passes=2)

    assert len(stage.restarted) == annotations


async def test_if_needed_does_not_restart_cloudnativepg_1_30(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.clock.pass_by(100)
    await stage.settle()

    assert stage.restarted == {}


@pytest.fixture(scope="module")
def reference() -> Stage:
    """A plugin that no crash disturbed."""
    undisturbed = Stage()
    undisturbed.create()
    asyncio.run(undisturbed.settle())
    return undisturbed


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("write", range(14))
async def test_a_crash_around_any_write_does_not_change_the_result(
    reference: Stage, write: int, side: str
) -> None:
    crashed = Stage()
    crashed.create()
    crashed.client.fail_at, crashed.client.fail_after = write, side == "after"
    for _ in range(14):
        await crashed.settle(passes=1)
        if crashed.client.fail_at is None:
            crashed.reconciler = crashed.operator()
    await crashed.settle()

    assert crashed.client.objects.keys() == reference.client.objects.keys()
    assert crashed.condition() == ("True", "Ready")
    assert len(crashed.client.writes) <= len(reference.client.writes) + 2


def use_plugin(stage: Stage) -> None:
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
        },
    )


def own_objects(stage: Stage) -> list[tuple[str, str | None, str]]:
    return [
        key
        for key, body in stage.client.objects.items()
        if key[0] != "Pod"
        and not any(r["uid"] == "uid-of-hello" for r in body["metadata"].get("ownerReferences", []))
        and body["metadata"].get("labels", {}).get(names.labels.MANAGED_BY)
        == names.resource.OPERATOR
    ]


async def test_the_deletion_of_a_plugin_in_use_waits_and_names_the_clusters(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    use_plugin(stage)
    stage.delete()
    await stage.settle(passes=3)
    waiting = stage.condition("Accepted")
    message = stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"][0]["message"]
    del stage.client.objects["Cluster", "app", "db"]
    await stage.settle(passes=3)

    assert waiting == ("False", "InUse")
    assert "app/db" in message
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects
    assert own_objects(stage) == []


async def test_unprotected_deletion_does_not_wait(stage: Stage) -> None:
    stage.create(deletionPolicy="Delete")
    await stage.settle()
    use_plugin(stage)
    stage.delete()
    await stage.settle(passes=3)

    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


async def test_the_finalizer_of_a_missing_cloudnativepg_blocks_nothing(stage: Stage) -> None:
    stage.create()
    await stage.settle()
    stage.client.the(kinds.SERVICE, "hello")["metadata"]["finalizers"] = [
        names.cnpg.SERVICE_FINALIZER
    ]
    stage.delete()
    await stage.visit()
    waiting = stage.condition("Accepted")
    del stage.client.objects["Deployment", NAMESPACE, "cnpg"]
    await stage.visit()

    assert waiting == ("Unknown", "Deleting")
    assert ("Service", NAMESPACE, "hello") not in stage.client.objects
    assert ("CNPGPlugin", NAMESPACE, "hello") not in stage.client.objects


@pytest.mark.parametrize(
    ("version", "left"), [("1.28.4", False), ("1.29.0", True), ("1.29.3", True), ("1.30.1", True)]
)
async def test_a_finalizer_is_left_to_the_versions_of_cloudnativepg_that_know_it(
    version: str, *, left: bool
) -> None:
    stage = Stage(version)
    stage.create()
    await stage.settle()
    stage.client.the(kinds.SERVICE, "hello")["metadata"]["finalizers"] = [
        names.cnpg.SERVICE_FINALIZER
    ]
    stage.delete()
    await stage.settle(passes=3)

    assert (("Service", NAMESPACE, "hello") in stage.client.objects) is left


async def test_a_resource_in_an_unmanaged_namespace_says_where_it_belongs(
    stage: Stage,
) -> None:
    body = resource()
    body["metadata"]["namespace"] = "elsewhere"
    stage.client.put(kinds.PLUGIN, body)
    await stage.reconciler.reconcile(("elsewhere", "hello"))
    status = stage.client.the(kinds.PLUGIN, "hello", "elsewhere")["status"]

    assert status["conditions"][0]["reason"] == "CNPGNotFound"
    assert "it runs in cnpg-system" in status["conditions"][0]["message"]
    assert stage.client.writes == ["CNPGPlugin hello/status"]


async def test_passes_of_several_plugins_create_the_shared_chain_once(stage: Stage) -> None:
    for name in ("one", "two", "three"):
        stage.create(name)
    await asyncio.gather(*(stage.visit(name) for name in ("one", "two", "three")))

    assert stage.client.writes.count("Issuer cnpg-plugins-root") == 1


async def test_the_debug_log_is_a_timeline_of_the_stages(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cnpg_plugin_operator.reconcile.stages")
    stage.create()
    await stage.settle()

    lines = [{**vars(record), "text": record.getMessage()} for record in caplog.records]
    for kind, reason in (
        (Type.CERTIFICATES_READY, "Issuing"),
        (Type.AVAILABLE, "RolloutInProgress"),
        (Type.REGISTERED, "Registered"),
    ):
        assert any(line["stage"] == kind and reason in line["text"] for line in lines)
    assert {line["plugin"] for line in lines} == {"hello"}
    assert all(line["seconds"] >= 0 for line in lines)


async def test_a_status_that_changes_only_in_numbers_is_not_logged_as_news(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.create()
    await stage.settle()
    caplog.set_level(logging.DEBUG, "cnpg_plugin_operator.reconcile.status")
    caplog.clear()
    use_plugin(stage)
    await stage.settle()

    assert stage.client.the(kinds.PLUGIN, "hello")["status"]["clusters"]["using"] == 1
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
