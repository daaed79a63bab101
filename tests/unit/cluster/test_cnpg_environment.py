"""What sidecars find in CloudNativePG's pods: as its manifest has them, and otherwise."""

import base64
from typing import Any

import pytest

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.api.times import read_time
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.cnpg import Located, locate, read_cnpg
from cnpg_plugin_operator.cluster.cnpg_environment import read_for_sidecars
from cnpg_plugin_operator.cluster.cnpg_pods import read_pods
from cnpg_plugin_operator.cluster.sidecars import Sidecars
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts, PodEnvironment
from cnpg_plugin_operator.decide.sidecar.gate import encode_verdicts
from tests.support.unit.builders import cnpg
from tests.support.unit.cnpg_pods import deployment, identified
from tests.support.unit.fake_cluster import FakeCluster

NAMESPACE = "cnpg-system"
CONFIGURATION = "cnpg-controller-manager-config"
KEY = names.cnpg.SOCKET_VARIABLE
SOME_TEMPLATE = {"metadata": {"annotations": {"a": "b"}}}


def body(**manager: Any) -> dict[str, Any]:
    """CloudNativePG's Deployment with some fields of its container replaced."""
    found = deployment()
    found["metadata"]["uid"] = "uid-of-cnpg"
    found["spec"]["template"]["spec"]["containers"][0].update(manager)
    return found


async def read(
    given: dict[str, Any], client: FakeCluster | None = None, *, configured: bool = True
) -> CNPGFacts:
    located = Located(read_cnpg(given, None), given, None)
    return await read_for_sidecars(client or FakeCluster(), located, configured=configured)


async def look(
    given: dict[str, Any], client: FakeCluster | None = None, *, configured: bool = True
) -> PodEnvironment:
    facts = await read(given, client, configured=configured)
    assert facts.environment is not None
    return facts.environment


async def test_the_manifest_is_read() -> None:
    facts = await read(body())

    assert facts.template == deployment()["spec"]["template"]
    assert facts.environment == PodEnvironment(
        directory="/plugins",
        user={"runAsUser": 10001, "runAsGroup": 10001},
        account="cnpg-manager",
        ports=frozenset({8080, 9443}),
        kubernetes=(1, 33),
    )


@pytest.mark.parametrize(
    ("pod", "container", "user"),
    [
        pytest.param({}, {}, {}, id="unspecified"),
        pytest.param(None, None, {}, id="nulls"),
        pytest.param({"runAsUser": 26}, {}, {"runAsUser": 26}, id="set in the pod"),
        pytest.param({}, {"runAsGroup": 0}, {"runAsGroup": 0}, id="set in the container"),
        pytest.param(
            {"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26}, {"runAsUser": 10001},
            {"runAsUser": 10001, "runAsGroup": 26}, id="the container takes precedence",
        ),
    ],
)  # fmt: skip
async def test_the_user_of_cloudnativepg_is_read(
    pod: dict[str, Any] | None, container: dict[str, Any] | None, user: dict[str, int]
) -> None:
    given = body(securityContext=container)
    given["spec"]["template"]["spec"]["securityContext"] = pod

    assert (await look(given)).user == user


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param(None, "", id="null"),
        pytest.param([{"name": "x", "mountPath": "/plugins"}], "x", id="a foreign volume"),
        pytest.param([{"name": "x", "mountPath": "/plugins/"}], "x", id="with a slash"),
        pytest.param(
            [{"name": names.sidecars.VOLUME_SOCKETS, "mountPath": "/plugins"}], "", id="our own"
        ),
        pytest.param([{"name": "x", "mountPath": "/plugins-2"}], "", id="another directory"),
    ],
)
async def test_a_foreign_mount_of_the_socket_directory_is_found(
    mounts: list[Any] | None, found: str
) -> None:
    assert (await look(body(volumeMounts=mounts))).mounted == found


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": {"name": "x", "namespace": NAMESPACE, "uid": "1"}},
        {
            "metadata": {"name": "x", "namespace": NAMESPACE, "uid": "1"},
            "spec": None,
            "status": None,
        },
        {
            "metadata": {"name": "x", "namespace": NAMESPACE, "uid": "1"},
            "spec": {"template": {"spec": None}},
        },
    ],
    ids=["no spec", "nulls", "a template without a spec"],
)
async def test_an_empty_deployment_is_read(given: dict[str, Any]) -> None:
    facts = await read(given)

    assert facts.environment is not None
    assert (facts.environment.user, facts.environment.account) == ({}, "default")
    assert (facts.replicas, facts.newest) == (1, None)


def test_a_scaled_down_deployment_is_read() -> None:
    given = body()
    given["spec"]["replicas"] = 0

    assert read_cnpg(given, None).replicas == 0


# The directory of the sockets

ENVIRONMENT = [{"name": KEY, "value": "/from-env"}]


def put(client: FakeCluster, kind: kinds.Kind, directory: str, name: str = CONFIGURATION) -> None:
    text = base64.b64encode(directory.encode()).decode() if kind is kinds.SECRET else directory
    meta = {"name": name, "namespace": NAMESPACE}
    client.put(kind, {"metadata": meta, "data": {KEY: text}})


@pytest.mark.parametrize(
    ("secret", "config_map", "env", "directory"),
    [
        pytest.param(None, None, [], "/plugins", id="unspecified"),
        pytest.param(None, None, ENVIRONMENT, "/from-env", id="the environment"),
        pytest.param(None, "/from-map", ENVIRONMENT, "/from-map", id="the ConfigMap first"),
        pytest.param("/from-secret", "/from-map", ENVIRONMENT, "/from-secret", id="the Secret"),
        pytest.param("/from-secret", None, [], "/from-secret", id="the Secret alone"),
        pytest.param("", "", ENVIRONMENT, "/from-env", id="empty values say nothing"),
        pytest.param(
            None, None, [{"name": KEY, "valueFrom": {"fieldRef": {}}}], "/plugins",
            id="a variable without a value",
        ),
    ],
)  # fmt: skip
async def test_the_socket_directory_is_read(
    secret: str | None, config_map: str | None, env: list[dict[str, Any]], directory: str
) -> None:
    client = FakeCluster()
    for kind, text in ((kinds.SECRET, secret), (kinds.CONFIG_MAP, config_map)):
        if text is not None:
            put(client, kind, text)

    assert (await look(body(env=env), client)).directory == directory


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        pytest.param(["--config-map-name=mine"], "/mine", id="one argument"),
        pytest.param(["--config-map-name", "mine"], "/mine", id="two arguments"),
        pytest.param(["--config-map-name"], "/plugins", id="no name"),
        pytest.param(["--config-map-name="], "/plugins", id="an empty name"),
        pytest.param([], "/plugins", id="no flag"),
        pytest.param(["--config-map-name=gone"], "/plugins", id="a ConfigMap that is gone"),
        pytest.param(["--config-map-name-2=mine"], "/plugins", id="another flag"),
    ],
)
@pytest.mark.parametrize("field", ["args", "command"])
async def test_the_configuration_is_found_by_the_flags(
    arguments: list[str], directory: str, field: str
) -> None:
    client = FakeCluster()
    put(client, kinds.CONFIG_MAP, "/mine", "mine")
    given = body(**{"args": [], "command": ["/manager"], field: arguments})

    assert (await look(given, client)).directory == directory


@pytest.mark.parametrize("mounted", ["/plugins", "/elsewhere"])
async def test_without_the_right_the_socket_directory_is_taken_from_the_mounts(
    mounted: str,
) -> None:
    client = FakeCluster()
    put(client, kinds.SECRET, "/from-secret")
    given = body(volumeMounts=[{"name": names.sidecars.VOLUME_SOCKETS, "mountPath": mounted}])

    assert (await look(given, client, configured=False)).directory == mounted


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("v1.33.4", (1, 33)),
        ("v1.29.0-eks-1", (1, 29)),
        ("1.30+", (1, 30)),
        ("", None),
        ("unknown", None),
    ],
)
async def test_the_version_of_kubernetes_is_read(
    said: str, version: tuple[int, int] | None
) -> None:
    client = FakeCluster()
    client.kubernetes = said

    assert (await look(body(), client)).kubernetes == version


async def test_an_unreadable_version_is_unknown() -> None:
    class Silent(FakeCluster):
        async def version(self) -> str:
            raise errors.ForbiddenError("no")

    assert (await look(body(), Silent())).kubernetes is None


# Its pods


def pod(name: str = "cnpg-1", made: str = "10:00", **fields: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": name,
        "creationTimestamp": f"2026-03-01T{made}:00Z",
        "labels": {names.labels.NAME: names.cnpg.APP},
        "annotations": {names.annotations.SIDECARS: '{"hello": "r1"}'},
    }
    return {"metadata": {**metadata, **fields.pop("metadata", {})}, **fields}


def gated(**state: Any) -> dict[str, Any]:
    """The status of a pod whose gate is in a state."""
    sidecar = {"name": "cnpg-plugin-hello", "state": {"running": {}}, "started": True}
    gate = {"name": names.sidecars.GATE, "state": state}
    return {"initContainerStatuses": [sidecar, gate]}


MESSAGE = encode_verdicts({"hello.example.org": identified()})
ENDED = {"exitCode": 0, "message": MESSAGE, "finishedAt": "2026-03-01T10:01:00Z"}


def test_a_successful_gate_reports_its_verdicts() -> None:
    (found,) = read_pods([pod(status=gated(terminated=ENDED))])

    assert found.sidecars == {"hello": "r1"}
    assert found.verdicts["hello.example.org"].reason is Reason.IDENTIFIED
    assert found.gate_ended is not None
    assert found.gate_ended.isoformat() == "2026-03-01T10:01:00+00:00"
    assert found.container("cnpg-plugin-hello") is not None
    assert found.container("manager") is None


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="no status"),
        pytest.param({"initContainerStatuses": None}, id="no init containers"),
        pytest.param(gated(waiting={"reason": "PodInitializing"}), id="it waits"),
        pytest.param(gated(running={"startedAt": "2026-03-01T10:00:00Z"}), id="it runs"),
        pytest.param(gated(terminated={**ENDED, "exitCode": 1}), id="it failed"),
        pytest.param(gated(terminated={**ENDED, "exitCode": None}), id="it ended somehow"),
        pytest.param(
            {"containerStatuses": [{"name": names.sidecars.GATE, "state": {"terminated": ENDED}}]},
            id="another container of its name",
        ),
    ],
)
def test_an_unsuccessful_gate_reports_nothing(status: dict[str, Any]) -> None:
    (found,) = read_pods([pod(status=status)])

    assert (found.verdicts, found.gate_ended) == ({}, None)


@pytest.mark.parametrize("message", [None, "", "cut off {", '{"plugins":[\n{"plugin":"x"}\n]}'])
def test_a_gate_with_an_unreadable_message_still_counts_as_finished(message: str | None) -> None:
    (found,) = read_pods([pod(status=gated(terminated={**ENDED, "message": message}))])

    assert found.verdicts == {}
    assert found.gate_ended is not None


def test_pods_are_read_oldest_first_and_terminating_ones_are_not_current() -> None:
    going = pod("cnpg-3", "12:00", metadata={"deletionTimestamp": "2026-03-01T13:00:00Z"})
    bodies = [pod("cnpg-2", "11:00"), going, pod("cnpg-1", "10:00")]

    facts = cnpg(pods=read_pods(bodies))

    assert [each.pod.name for each in facts.pods] == ["cnpg-1", "cnpg-2", "cnpg-3"]
    assert [each.pod.name for each in facts.current_pods] == ["cnpg-1", "cnpg-2"]


async def test_only_the_pods_that_the_deployment_selects_are_read() -> None:
    client = FakeCluster()
    client.put(kinds.POD, pod())
    client.put(kinds.POD, pod("other-1", metadata={"labels": {names.labels.NAME: "other"}}))

    found = await read(body(), client)

    assert [each.pod.name for each in found.pods] == ["cnpg-1"]
    assert found.newest is found.pods[-1]


# Its apply


async def test_sidecars_are_applied_only_to_the_deployment_that_was_read() -> None:
    client = FakeCluster()
    facts = await read(body(), client)
    client.put(kinds.DEPLOYMENT, {**body(), "metadata": {**body()["metadata"], "uid": "another"}})
    reader: Any = None
    sidecars = Sidecars(client, reader)

    with pytest.raises(errors.ConflictError):
        await sidecars.apply(NAMESPACE, facts, SOME_TEMPLATE, None)
    assert client.writes == []


@pytest.mark.parametrize(("present", "after"), [({}, 5), ({"minReadySeconds": 30}, 30)])
async def test_the_previous_pod_ends_once_the_next_one_has_stayed_ready(
    present: dict[str, int], after: int
) -> None:
    client, given = FakeCluster(), body()
    given["spec"] |= present
    client.put(kinds.DEPLOYMENT, given)
    reader: Any = None
    sidecars = Sidecars(client, reader)

    await sidecars.apply(NAMESPACE, await read(given, client), SOME_TEMPLATE, None)
    applied = client.the(kinds.DEPLOYMENT, given["metadata"]["name"])
    assert applied["spec"]["minReadySeconds"] == after

    await sidecars.apply(NAMESPACE, await read(applied, client), {}, None)
    left = client.the(kinds.DEPLOYMENT, given["metadata"]["name"])["spec"]
    assert left.get("minReadySeconds") == present.get("minReadySeconds")


# Since when its leader leads


@pytest.mark.parametrize(
    ("taken", "since"),
    [
        ("2026-03-01T10:02:00.123456Z", "2026-03-01T10:02:00.123456+00:00"),
        ("soon", None),
        (None, None),
    ],
)
async def test_the_time_of_the_last_leader_change_is_read(
    taken: str | None, since: str | None
) -> None:
    client = FakeCluster()
    client.put(kinds.DEPLOYMENT, body())
    owner = {"kind": "ReplicaSet", "name": "cnpg-controller-manager-5d9c"}
    client.put(kinds.POD, pod(metadata={"ownerReferences": [owner]}))
    held = {"holderIdentity": "cnpg-1_x", "acquireTime": taken}
    meta = {"name": names.cnpg.LEASE, "namespace": NAMESPACE}
    client.put(kinds.LEASE, {"metadata": meta, "spec": held})

    [located] = await locate(client, NAMESPACE)

    found = located.facts
    assert found.leader is not None
    assert (found.leader.since.isoformat() if found.leader.since else None) == since
    assert found.sidecars == {}


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ('{"a": "2026-03-01T10:00:00Z"}', {"a"}),
        ('{"a": "2026-03-01T10:00:00Z", "b": "soon"}', {"a"}),
        ("nonsense", set()),
        (None, set()),
    ],
)
async def test_withdrawn_plugins_are_read(recorded: str | None, found: set[str]) -> None:
    client = FakeCluster()
    given = body()
    given["metadata"]["annotations"] = {names.annotations.WITHDRAWN: recorded}
    client.put(kinds.DEPLOYMENT, given)

    [located] = await locate(client, NAMESPACE)

    assert located.facts.withdrawn.keys() == found


SAYING = {"phase": "Failed", "reason": "Evicted", "message": "it used too much"}


@pytest.mark.parametrize(
    ("status", "has_event", "words"),
    [
        pytest.param(SAYING, False, "it used too much", id="from the pod"),
        pytest.param(SAYING, True, "it used too much", id="from both"),
        pytest.param({"phase": "Succeeded"}, True, "says the Event", id="only from an Event"),
        pytest.param({"phase": "Succeeded"}, False, None, id="without a reason"),
        pytest.param(
            {"phase": "Failed", "reason": "NodeShutdown"}, False, None, id="for another reason"
        ),
    ],
)
async def test_an_eviction_is_read(
    status: dict[str, Any], *, has_event: bool, words: str | None
) -> None:
    client = FakeCluster()
    client.put(kinds.POD, pod("cnpg-1", "11:00", status=status))
    client.put(kinds.POD, pod("cnpg-2", "11:20"))
    if has_event:
        client.put(
            kinds.EVENT,
            {
                "metadata": {"name": "event", "namespace": NAMESPACE},
                "involvedObject": {"kind": "Pod", "uid": "cnpg-1"},
                "reason": "Evicted",
                "message": "says the Event",
                "lastTimestamp": "2026-03-01T11:30:00Z",
            },
        )

    facts = await read(body(), client, configured=False)

    assert [each.pod.name for each in facts.current_pods] == ["cnpg-2"]
    assert [each.message for each in facts.evictions] == ([words] if words else [])
    for eviction in facts.evictions:
        assert (eviction.pod, eviction.sidecars) == ("cnpg-1", {"hello": "r1"})
        assert eviction.ended == (
            read_time("2026-03-01T11:30:00Z") if has_event else eviction.created
        )


def test_refused_pods_are_reported() -> None:
    found = body()
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }
    found["status"] = {"conditions": [condition]}

    facts = read_cnpg(found, None)

    assert facts.refused == "exceeded quota"
    assert facts.refused_since == read_time("2026-03-01T11:00:00Z")
    condition["status"] = "False"
    assert read_cnpg(found, None).refused == ""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param({}, "no such ConfigMap", id="a pod that waits for its volumes"),
        pytest.param({"podIP": "10.0.0.1"}, "", id="a pod that has them"),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False"}]}, "", id="without a node"
        ),
        pytest.param({"conditions": [{"type": "Ready", "status": "True"}]}, "", id="ready"),
    ],
)
async def test_the_cause_of_an_unmounted_volume_is_read_from_events(
    status: dict[str, Any], words: str
) -> None:
    client = FakeCluster()
    client.put(kinds.POD, pod(status=status))
    for number, (reason, message) in enumerate(
        [
            ("FailedMount", "MountVolume.SetUp failed for volume: no such ConfigMap"),
            ("FailedMount", "Unable to attach or mount volumes: timed out"),
            ("Pulled", "MountVolume.SetUp failed, says an image"),
        ]
    ):
        metadata = {"name": f"event-{number}", "namespace": NAMESPACE}
        stamp = f"2026-03-01T11:0{number}:00Z"
        client.put(
            kinds.EVENT,
            {"metadata": metadata, "reason": reason, "message": message, "lastTimestamp": stamp},
        )

    facts = await read(body(), client, configured=False)

    assert facts.newest is not None
    assert words in facts.newest.unmounted
    assert bool(facts.newest.unmounted) is bool(words)
