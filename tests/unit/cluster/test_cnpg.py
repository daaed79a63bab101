"""CloudNativePG is found in the cluster's objects, however it was installed."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.cnpg import locate, looks_like_cnpg
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from tests.support.unit.fake_cluster import FakeCluster

NAMESPACE = "cnpg-system"
LABELLED = {names.labels.NAME: names.cnpg.APP}
IMAGE = "ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0"


class Namespace:
    """A namespace with Deployments, their pods and CloudNativePG's Lease."""

    def __init__(self) -> None:
        self.client = FakeCluster()

    def deploy(
        self,
        name: str,
        labels: dict[str, str] | None = None,
        *,
        image: str = IMAGE,
        env: list[dict[str, Any]] | None = None,
        status: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> None:
        variables = [{"name": "OPERATOR_IMAGE_NAME", "value": image}, *(env or [])]
        container = {"name": "manager", "image": image, "env": variables}
        done = {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}
        body = {
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels or {}, **metadata},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"annotations": {"olm.targetNamespaces": "app,other"}},
                    "spec": {"containers": [container]},
                },
            },
            "status": {"observedGeneration": 0, **done, **(status or {})},
        }
        self.client.put(kinds.DEPLOYMENT, body)
        owner = {"kind": "Deployment", "name": name}
        self.client.put(kinds.REPLICA_SET, self._owned(f"{name}-5d9c", owner))

    def lead(self, deployment: str, *, replica_set: str = "", **status: Any) -> None:
        """Let a pod of a Deployment hold the Lease."""
        owner = {"kind": "ReplicaSet", "name": replica_set or f"{deployment}-5d9c"}
        pod = self._owned(f"{deployment}-5d9c-abcde", owner)
        self.client.put(kinds.POD, {**pod, "status": status})
        self.hold(pod["metadata"]["name"])

    def hold(self, pod: str) -> None:
        holder = f"{pod}_0b1c" if pod else ""
        meta = {"name": names.cnpg.LEASE, "namespace": NAMESPACE}
        self.client.put(kinds.LEASE, {"metadata": meta, "spec": {"holderIdentity": holder}})

    def _owned(self, name: str, owner: dict[str, str]) -> dict[str, Any]:
        labels = {"app": name.partition("-5d9c")[0]}
        meta = {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
        return {"metadata": meta}

    async def found(self, reference: str = "") -> list[str]:
        found = await locate(self.client, NAMESPACE, reference)
        return sorted(each.facts.deployment for each in found)

    async def one(self) -> CNPGFacts:
        [found] = await locate(self.client, NAMESPACE)
        return found.facts


@pytest.fixture
def place() -> Namespace:
    return Namespace()


async def test_the_published_manifest_is_found_by_its_label(place: Namespace) -> None:
    place.deploy("cnpg-controller-manager", LABELLED)
    place.lead("cnpg-controller-manager")

    found = await place.one()
    assert found.deployment == "cnpg-controller-manager"
    assert found.leader is not None
    assert found.leader.pod == "cnpg-controller-manager-5d9c-abcde"
    assert (found.version, found.watches, found.olm) == ("1.30.0", (), "")


async def test_any_helm_release_is_found_by_its_label(place: Namespace) -> None:
    place.deploy("databases-cloudnative-pg", LABELLED)

    assert await place.found() == ["databases-cloudnative-pg"]


async def test_a_release_with_a_name_override_is_found_by_the_lease_holder(
    place: Namespace,
) -> None:
    place.deploy("release-pg-operator", {names.labels.NAME: "pg-operator"})
    place.deploy("something-else", env=[])
    place.lead("release-pg-operator")

    assert await place.found() == ["release-pg-operator"]
    assert (await place.one()).leader is not None


async def test_a_replica_set_with_an_unusual_name_leads_to_its_deployment(
    place: Namespace,
) -> None:
    place.deploy("operator", {names.labels.NAME: "other"})
    owner = {"kind": "Deployment", "name": "operator"}
    place.client.put(kinds.REPLICA_SET, place._owned("unlike-5d9c", owner))
    place.lead("operator", replica_set="unlike-5d9c")

    assert (await place.one()).leader is not None


@pytest.mark.parametrize("holder", ["", "a-pod-that-is-gone"])
async def test_without_a_leader_cloudnativepg_is_found_by_its_container(
    place: Namespace, holder: str
) -> None:
    place.deploy("release-pg-operator", {names.labels.NAME: "pg-operator"})
    place.client.put(
        kinds.DEPLOYMENT, {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {}}
    )
    place.hold(holder)

    assert await place.found() == ["release-pg-operator"]
    assert (await place.one()).leader is None


async def test_two_deployments_with_the_label_are_both_found(place: Namespace) -> None:
    place.deploy("one", LABELLED)
    place.deploy("two", LABELLED)
    place.lead("one")

    assert await place.found() == ["one", "two"]


async def test_a_labelled_and_a_leading_deployment_are_both_found(place: Namespace) -> None:
    place.deploy("labelled", LABELLED)
    place.deploy("leading", {names.labels.NAME: "pg-operator"})
    place.lead("leading")

    assert await place.found() == ["labelled", "leading"]


async def test_only_the_leading_deployment_has_a_leader(place: Namespace) -> None:
    place.deploy("one", LABELLED)
    place.deploy("two", LABELLED)
    place.lead("two")

    found = [each.facts for each in await locate(place.client, NAMESPACE)]
    leaders = {each.deployment: each.leader for each in found}
    assert leaders["one"] is None
    assert leaders["two"] is not None


async def test_a_reference_picks_one_of_several(place: Namespace) -> None:
    place.deploy("one", LABELLED)
    place.deploy("two", LABELLED)

    assert await place.found("two") == ["two"]


async def test_a_reference_to_nothing_finds_nothing(place: Namespace) -> None:
    place.deploy("one", LABELLED)

    assert await place.found("three") == []


def foreign(place: Namespace, name: str, labels: dict[str, str], **metadata: Any) -> None:
    """Add a Deployment that runs something else."""
    place.deploy(name, labels, **metadata)
    place.client.the(kinds.DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"] = [
        {"name": "manager", "image": "example.org/web:1", "env": [{"name": "OTHER"}]}
    ]


OURS = {names.labels.MANAGED_BY: names.resource.OPERATOR}


@pytest.mark.parametrize("reference", ["", "web"])
async def test_a_label_alone_does_not_identify_cloudnativepg(
    place: Namespace, reference: str
) -> None:
    foreign(place, "web", LABELLED)

    assert await place.found(reference) == []


async def test_cloudnativepg_is_found_by_its_container_beside_a_labelled_deployment(
    place: Namespace,
) -> None:
    foreign(place, "web", LABELLED)
    place.deploy("release-pg-operator", {names.labels.NAME: "pg-operator"})

    assert await place.found() == ["release-pg-operator"]


async def test_a_reference_alone_does_not_identify_cloudnativepg(place: Namespace) -> None:
    place.deploy("cnpg", LABELLED)
    place.lead("cnpg")
    foreign(place, "web", {})

    assert await place.found("web") == []
    assert await place.found("cnpg") == ["cnpg"]


@pytest.mark.parametrize("reference", ["", "odd"])
async def test_the_lease_holder_is_cloudnativepg_whatever_its_container(
    place: Namespace, reference: str
) -> None:
    foreign(place, "odd", LABELLED)
    place.lead("odd")

    assert await place.found(reference) == ["odd"]


@pytest.mark.parametrize("reference", ["", "plugin"])
@pytest.mark.parametrize("leads", [False, True], ids=["at rest", "leading"])
@pytest.mark.parametrize(
    "marks",
    [
        {"labels": {**OURS, **LABELLED}},
        {"labels": LABELLED, "ownerReferences": [{"kind": names.resource.KIND, "name": "plugin"}]},
    ],
    ids=["labelled", "owned"],
)
async def test_a_plugin_is_never_taken_for_cloudnativepg(
    place: Namespace, marks: dict[str, Any], reference: str, *, leads: bool
) -> None:
    """Whatever its author puts into its container, and whichever Lease it acquires."""
    place.deploy("plugin", **marks)
    if leads:
        place.lead("plugin")

    assert await place.found(reference) == []


async def test_an_empty_namespace_has_no_cloudnativepg(place: Namespace) -> None:
    assert await place.found() == []


async def test_olm_is_recognized_by_its_label(place: Namespace) -> None:
    label = {**LABELLED, names.labels.OLM_OWNER: "cloudnative-pg.v1.29.0"}
    place.deploy("cnpg-controller-manager", label, image="registry/cnpg@sha256:00")
    place.lead("cnpg-controller-manager")

    found = await place.one()
    assert found.olm == "cloudnative-pg.v1.29.0"
    assert found.version == "1.29.0"
    assert [each.pod.name for each in found.pods] == ["cnpg-controller-manager-5d9c-abcde"]


async def test_olm_is_recognized_by_its_owner_reference(place: Namespace) -> None:
    owner = {"kind": "ClusterServiceVersion", "name": "cloudnative-pg.v1.30.0"}
    place.deploy("cnpg-controller-manager", LABELLED, ownerReferences=[owner])

    assert (await place.one()).olm == "cloudnative-pg.v1.30.0"


WATCHING = [
    pytest.param([], (), id="all namespaces"),
    pytest.param([{"name": "WATCH_NAMESPACE", "value": ""}], (), id="an empty variable"),
    pytest.param(
        [{"name": "WATCH_NAMESPACE", "value": "app, other"}], ("app", "other"), id="a list"
    ),
    pytest.param(
        [{"name": "WATCH_NAMESPACE",
          "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
        (NAMESPACE,), id="the chart with clusterWide: false",
    ),
    pytest.param(
        [{"name": "WATCH_NAMESPACE", "valueFrom": {
            "fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}}}],
        ("app", "other"), id="OLM's annotation of the pod",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("env", "watches"), WATCHING)
async def test_the_watched_namespaces_are_read(
    place: Namespace, env: list[dict[str, Any]], watches: tuple[str, ...]
) -> None:
    place.deploy("cnpg", LABELLED, env=env)

    assert (await place.one()).watches == watches


@pytest.mark.parametrize(
    ("environment", "proxy", "unproxied"),
    [
        ({}, "", ()),
        ({"HTTP_PROXY": "http://proxy:3128"}, "", ()),
        ({"HTTPS_PROXY": "", "https_proxy": "http://proxy:3128"}, "https_proxy", ()),
        (
            {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8, .svc"},
            "HTTPS_PROXY",
            ("10.0.0.0/8", ".svc"),
        ),
    ],
    ids=["none", "not for TLS", "in small letters", "with exceptions"],
)
async def test_the_proxy_is_read(
    place: Namespace, environment: dict[str, str], proxy: str, unproxied: tuple[str, ...]
) -> None:
    env = [{"name": name, "value": value} for name, value in environment.items()]
    place.deploy("cnpg", LABELLED, env=env)
    found = await place.one()

    assert (found.proxy, found.unproxied) == (proxy, unproxied)


STUCK = [
    pytest.param({}, {}, "", id="a rollout in progress"),
    pytest.param(
        {"conditions": [{"type": "Progressing", "status": "False",
                         "reason": "ProgressDeadlineExceeded", "message": "it timed out"}]},
        {}, "ProgressDeadlineExceeded: it timed out", id="its deadline has passed",
    ),
    pytest.param(
        {}, {"containerStatuses": [
            {"name": "manager", "image": "cnpg:no",
             "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
        "pod cnpg-5d9c-abcde: image cnpg:no cannot be pulled (ImagePullBackOff)",
        id="the new image cannot be pulled",
    ),
    pytest.param(
        {}, {"containerStatuses": [
            {"name": "manager", "restartCount": 3,
             "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
        "pod cnpg-5d9c-abcde: container manager keeps exiting (OOMKilled), see kubectl logs "
        "cnpg-5d9c-abcde -n cnpg-system -c manager --previous",
        id="the new pod keeps exiting",
    ),
    pytest.param(
        {}, {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]},
        "pod cnpg-5d9c-abcde cannot be scheduled: 0/3 nodes", id="the new pod cannot be scheduled",
    ),
    pytest.param(
        {}, {"conditions": [{"type": "Ready", "status": "True"}],
             "containerStatuses": [{"name": "manager", "restartCount": 2, "state": {},
                                    "lastState": {"terminated": {"exitCode": 1}}}]},
        "", id="a ready pod that once exited does not count",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "pod", "stuck"), STUCK)
async def test_the_reason_of_a_stuck_rollout_is_read(
    place: Namespace, status: dict[str, Any], pod: dict[str, Any], stuck: str
) -> None:
    place.deploy("cnpg", LABELLED, status={"updatedReplicas": 0, **status})
    place.lead("cnpg", **pod)

    found = await place.one()
    assert found.rolling
    assert found.stuck == stuck


async def test_a_paused_deployment_counts_as_stuck_before_any_roll(
    place: Namespace,
) -> None:
    place.deploy("cnpg", LABELLED)
    place.client.the(kinds.DEPLOYMENT, "cnpg")["spec"]["paused"] = True

    assert (await place.one()).stuck == "Deployment cnpg is paused"


async def test_the_last_other_writer_of_the_spec_is_named(place: Namespace) -> None:
    managed = [
        {"manager": "helm", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "argocd", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": names.managers.RESTART, "time": "2026-01-03T00:00:00Z",
         "fieldsV1": {"f:spec": {}}},
        {"manager": "kube-controller-manager", "time": "2026-01-04T00:00:00Z",
         "fieldsV1": {"f:status": {}}},
    ]  # fmt: skip
    place.deploy("cnpg", LABELLED, managedFields=managed)

    assert (await place.one()).changed_by == "argocd"


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {}},
        {"metadata": {"labels": None}, "spec": {"template": None}},
        {"metadata": {"labels": {names.labels.NAME: "web"}}, "spec": {"ports": []}},
    ],
)
def test_other_objects_do_not_look_like_cloudnativepg(body: dict[str, Any]) -> None:
    assert not looks_like_cnpg(body)
