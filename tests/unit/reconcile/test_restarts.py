"""Restarts by passes: recorded first, carried out once, whatever happens in between."""

import json
from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from tests.support.unit.stage.stage import Stage
from tests.support.unit.stage.states import let_olm_own_cnpg


def deployment(stage: Stage) -> dict[str, Any]:
    return stage.client.the(kinds.DEPLOYMENT, "cnpg")


def roll(stage: Stage) -> None:
    """Let CloudNativePG's rollout end: a new pod, with the template's annotations, leads."""
    template = deployment(stage)["spec"]["template"].get("metadata", {})
    made = stage.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    stage.client.put(
        kinds.POD,
        {
            "metadata": {
                "name": "cnpg-0",
                "namespace": "cnpg-system",
                "creationTimestamp": made,
                "annotations": dict(template.get("annotations", {})),
            }
        },
    )


def rolls(stage: Stage) -> int:
    return int(deployment(stage)["metadata"].get("generation", 0))


def last_restart(stage: Stage, name: str = "hello") -> dict[str, Any]:
    found: dict[str, Any] = stage.client.the(kinds.PLUGIN, name)["status"]["cnpg"]["lastRestart"]
    return found


async def until_asked(stage: Stage) -> None:
    deployment(stage)["metadata"]["generation"] = 1
    await stage.settle(passes=8)
    stage.clock.pass_by(15)


async def test_a_restart_is_recorded_before_it_is_requested() -> None:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await until_asked(stage)
    stage.client.writes.clear()
    await stage.visit()

    assert stage.client.writes[:2] == ["CNPGPlugin hello/status", "Deployment cnpg"]
    recorded = last_restart(stage)
    assert recorded["attempts"] == 1
    assert recorded["generation"] == 1
    assert list(recorded["revisions"]) == ["hello"]


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("write", range(4))
async def test_an_operator_that_dies_around_any_write_of_a_restart_rolls_cnpg_once(
    write: int, side: str
) -> None:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await until_asked(stage)
    before = rolls(stage)
    stage.client.writes.clear()
    stage.client.fail_at, stage.client.fail_after = write, side == "after"
    await stage.crash(3)
    roll(stage)
    for _ in range(3):
        await stage.settle()
        stage.clock.pass_by(301)

    assert rolls(stage) == before + 1
    assert stage.condition() == ("True", "Ready")
    assert last_restart(stage)["attempts"] == 1


async def test_a_restart_reverted_twice_is_given_up() -> None:
    stage = Stage()
    stage.create(cnpg={"restartPolicy": "Always"})
    await until_asked(stage)
    for _ in range(5):
        await stage.settle(passes=3)
        template = deployment(stage)["spec"]["template"]
        if template.pop("metadata", None):
            deployment(stage)["metadata"]["generation"] += 1
        stage.clock.pass_by(301)
    await stage.settle(passes=3)

    assert stage.condition("Registered") == ("False", "RestartReverted")
    assert last_restart(stage)["attempts"] == 2
    assert rolls(stage) == 1 + 2 * 2, "each was reverted by another change"


async def test_the_record_of_one_resource_counts_for_its_namespace() -> None:
    stage = Stage()
    for name in ("hello", "other"):
        stage.create(name, cnpg={"restartPolicy": "Always"})
        await stage.settle(name)
    stage.clock.pass_by(15)
    await stage.visit("hello")
    template = deployment(stage)["spec"]["template"]
    template.pop("metadata")
    deployment(stage)["metadata"]["generation"] += 1
    before = rolls(stage)
    await stage.settle("other", passes=3)

    assert rolls(stage) == before, "the time between two restarts counts for both"
    assert stage.condition("Registered", "other") == ("Unknown", "RestartPending")
    assert json.dumps(last_restart(stage)["revisions"]).count("r") >= 1


async def test_a_forbidden_pod_deletion_under_olm_reports_the_missing_right() -> None:
    stage = Stage()
    let_olm_own_cnpg(stage)
    stage.client.undeletable.add(kinds.POD)
    stage.create(cnpg={"restartPolicy": "Always"})
    await until_asked(stage)
    await stage.settle(passes=3)

    assert stage.condition("Registered") == ("False", "RestartForbidden")
    message = stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"][4]["message"]
    assert message == (
        "Deployment cnpg has to be restarted. OLM's cloudnative-pg.v1.30.0 owns it, so its pods "
        "are deleted instead, which is refused: Pod cnpg-0: cannot delete pods. Set cnpg.olm: true "
        "in the values of this operator's chart, or delete the pod yourself: kubectl delete pod "
        "cnpg-0 -n cnpg-system"
    )

    stage.client.undeletable.clear()
    stage.client.writes.clear()
    await stage.visit()
    assert "delete Pod cnpg-0" in stage.client.writes


async def test_nothing_is_restarted_while_a_cluster_fails_over_unless_a_plugin_blocks_it() -> None:
    stage = Stage()
    cluster: dict[str, Any] = {
        "metadata": {"name": "db", "namespace": "app"},
        "spec": {},
        "status": {"phase": "Failing over", "currentPrimary": "db-1", "targetPrimary": "db-2"},
    }
    stage.client.put(kinds.CLUSTER, cluster)
    stage.create(cnpg={"restartPolicy": "Always"})
    await until_asked(stage)
    await stage.settle(passes=3)
    waiting = stage.condition("Registered")
    message = stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"][4]["message"]
    before = dict(stage.restarted)
    live = stage.client.the(kinds.CLUSTER, "db", "app")
    live["status"]["phase"] = "Unknown plugin"
    await stage.settle(passes=3)

    assert waiting == ("Unknown", "RestartPending")
    assert "Cluster app/db (Failing over) must not be disturbed" in message
    assert before == {}
    assert "hello" in stage.restarted[names.annotations.RESTARTED_FOR]


async def test_a_plugin_published_long_ago_does_not_shorten_the_wait() -> None:
    stage = Stage()
    stage.create("first")
    await stage.settle("first")
    stage.clock.pass_by(600)
    stage.create("hello", cnpg={"restartPolicy": "Always"})
    await stage.settle("hello", passes=6)

    assert stage.condition("Registered") == ("Unknown", "RestartPending")
    assert stage.restarted == {}


def use(stage: Stage, version: str = "1.0.0", **status: Any) -> None:
    """Let a Cluster use the plugin; it is older than everything else."""
    shown = {"name": "hello.example.org", "version": version, "capabilities": ["TYPE_WAL_SERVICE"]}
    stage.client.put(
        kinds.CLUSTER,
        {
            "metadata": {"name": "db", "namespace": "app"},
            "spec": {"plugins": [{"name": "hello.example.org"}]},
            "status": {"pluginStatus": [shown], **status},
        },
    )


def available(stage: Stage) -> tuple[str, str]:
    conditions = stage.client.the(kinds.PLUGIN, "hello")["status"]["conditions"]
    found = next(c for c in conditions if c["type"] == "Available")
    return found["reason"], found["message"]


def image(stage: Stage) -> str:
    pod = stage.client.the(kinds.DEPLOYMENT, "hello")["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


async def test_a_change_waits_for_approval_while_clusters_use_the_plugin() -> None:
    stage = Stage()
    stage.create(upgradePolicy="Manual")
    await stage.settle()
    use(stage)
    service = dict(stage.client.the(kinds.SERVICE, "hello")["spec"])
    stage.edit(image="example.org/hello:2", port=9443)
    await stage.settle()
    reason, message = available(stage)
    before_approval = image(stage)
    token = message.rpartition("=")[2]

    assert reason == "AwaitingApproval"
    assert "image example.org/hello:1 becomes example.org/hello:2; 1 Cluster uses" in message
    assert before_approval == "example.org/hello:1"
    assert stage.client.the(kinds.SERVICE, "hello")["spec"] == service, "the port goes along"

    annotations = {names.annotations.APPROVE: token}
    stage.client.the(kinds.PLUGIN, "hello")["metadata"]["annotations"] = annotations
    await stage.settle()
    assert image(stage) == "example.org/hello:2"
    assert stage.condition() == ("True", "Ready")

    stage.edit(image="example.org/hello:3")
    await stage.settle()
    assert available(stage)[0] == "AwaitingApproval", "an approval is for one change"


@pytest.mark.parametrize("policy", ["Automatic", "Manual"])
async def test_a_change_that_no_cluster_depends_on_is_made_at_once(policy: str) -> None:
    stage = Stage()
    stage.create(upgradePolicy=policy)
    await stage.settle()
    stage.edit(image="example.org/hello:2")
    await stage.settle()

    assert image(stage) == "example.org/hello:2"
    assert stage.condition() == ("True", "Ready")


async def test_an_event_warns_of_a_change_that_may_roll_databases() -> None:
    stage = Stage()
    stage.create()
    await stage.settle()
    use(stage)
    status = stage.client.the(kinds.PLUGIN, "hello")["status"]
    status["plugin"]["capabilities"] = ["LIFECYCLE_SERVICE"]
    stage.client.writes.clear()
    stage.edit(image="example.org/hello:2")
    await stage.settle()

    assert stage.client.writes.count("Event UpgradingPlugin") == 1


async def test_clusters_that_show_a_previous_version_are_counted_and_the_service_touched_once() -> (
    None
):
    stage = Stage()
    stage.create()
    use(stage, version="0.9.0")
    await stage.settle()
    stage.clock.pass_by(31)
    stage.client.writes.clear()
    await stage.settle()
    clusters = stage.client.the(kinds.PLUGIN, "hello")["status"]["clusters"]
    annotations = stage.service()["annotations"]

    assert clusters == {"using": 1, "unready": 1, "outdated": 1}
    assert json.loads(annotations[names.annotations.TOUCHED])["times"] == 1
    assert stage.client.writes.count("Service hello") == 1


async def test_a_cluster_that_a_plugin_blocks_is_named() -> None:
    stage = Stage()
    stage.create()
    use(stage, phase="Unknown plugin")
    await stage.settle()

    clusters = stage.client.the(kinds.PLUGIN, "hello")["status"]["clusters"]
    assert clusters == {"using": 1, "unready": 1, "blocked": [{"namespace": "app", "name": "db"}]}


async def test_nudging_that_the_chart_does_not_allow_is_refused() -> None:
    stage = Stage()
    stage.create(cnpg={"clusterRefresh": "Annotate"})
    await stage.settle(passes=2)

    assert stage.condition("Accepted") == ("False", "InvalidSpec")


async def test_clusters_are_nudged_once_for_a_revision_where_it_is_allowed() -> None:
    stage = Stage("1.28.3", nudging=True)
    stage.create(cnpg={"clusterRefresh": "Annotate"})
    use(stage)
    await stage.settle()
    stage.clock.pass_by(31)
    await stage.settle()
    revision = stage.service()["annotations"][names.annotations.REVISION]
    nudges = [write for write in stage.client.writes if write == "patch Cluster db"]
    annotations = stage.client.the(kinds.CLUSTER, "db", "app")["metadata"]["annotations"]

    assert len(nudges) == 1
    assert annotations == {names.annotations.nudge("hello"): revision}


async def test_clusters_are_nudged_once_though_their_watch_is_late() -> None:
    stage = Stage("1.28.3", nudging=True)
    stage.create(cnpg={"clusterRefresh": "Annotate"})
    await stage.settle()
    use(stage)
    assert len(stage.facts.clusters()) == 1
    stage.facts.late = True
    stage.clock.pass_by(31)
    await stage.settle()
    assert stage.client.writes.count("patch Cluster db") == 1


async def withdraw(stage: Stage) -> None:
    metadata = stage.client.the(kinds.PLUGIN, "hello")["metadata"]
    metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    await stage.settle(passes=3)


async def recreate(stage: Stage) -> None:
    """Delete the resource, and create one of the same name."""
    await stage.settle()
    stage.client.the(kinds.PLUGIN, "hello")["metadata"]["deletionTimestamp"] = (
        "2026-03-01T12:00:00Z"
    )
    await stage.settle(passes=3)
    assert ("CNPGPlugin", "cnpg-system", "hello") not in stage.client.objects
    for key in [key for key in stage.client.objects if key[0] == "Deployment" and key[2] != "cnpg"]:
        del stage.client.objects[key]
    stage.create()
    await stage.settle()


async def test_a_recreated_plugin_needs_a_restart_where_the_previous_one_is_kept() -> None:
    stage = Stage("1.25.1")
    stage.create()
    await recreate(stage)

    assert stage.condition("Registered") == ("Unknown", "RestartPending")


@pytest.mark.parametrize("version", ["1.25.2", "1.28.4", "1.30.0"])
async def test_a_recreated_plugin_needs_no_restart_elsewhere(version: str) -> None:
    stage = Stage(version)
    stage.create()
    await recreate(stage)

    assert stage.condition() == ("True", "Ready")
    assert names.annotations.WITHDRAWN not in deployment(stage)["metadata"].get("annotations", {})


async def test_a_leader_younger_than_the_previous_plugin_does_not_know_it() -> None:
    stage = Stage("1.25.1")
    stage.create()
    await stage.settle()
    stage.client.the(kinds.PLUGIN, "hello")["metadata"]["deletionTimestamp"] = (
        "2026-03-01T12:00:00Z"
    )
    await stage.settle(passes=3)
    stage.clock.pass_by(60)
    roll(stage)
    stage.clock.pass_by(60)
    stage.create("other")
    stage.create()
    await stage.settle()

    assert stage.condition() == ("True", "Ready")


async def rename_service(stage: Stage) -> None:
    """Give the Service of a Ready plugin another name."""
    stage.create()
    await stage.settle()
    stage.edit(service={"name": "other"})
    await stage.client.delete(kinds.SECRET, "hello-server-tls", "cnpg-system")
    await stage.settle(passes=4, seconds=10)


async def test_another_service_needs_a_restart_where_cloudnativepg_keeps_the_previous_one() -> None:
    """The previous Service loses its label before, for CloudNativePG would read either."""
    stage = Stage("1.25.1")
    await rename_service(stage)
    hidden = stage.service()["labels"]
    waiting = stage.condition("Registered")
    await stage.pass_by(30)
    roll(stage)
    await stage.pass_by(60)

    assert names.cnpg.PLUGIN_NAME not in hidden
    assert waiting == ("Unknown", "Restarting")
    assert stage.condition() == ("True", "Ready")
    assert ("Service", "cnpg-system", "hello") not in stage.client.objects


@pytest.mark.parametrize("version", ["1.25.2", "1.28.4", "1.30.0"])
async def test_another_service_needs_no_restart_elsewhere(version: str) -> None:
    stage = Stage(version)
    await rename_service(stage)

    assert stage.condition() == ("True", "Ready")
    assert not stage.restarted
