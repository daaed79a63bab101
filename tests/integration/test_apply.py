"""Server-side apply as the operator relies on it, against a real API server.

Desired objects are compared with those that the API server returns, with defaults filled in and
quantities normalized: a comparison that is too strict writes forever, one that is too lax restores
nothing.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.api.records import RestartRecord
from cnpg_plugin_operator.cluster.apply import Writer
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg import read_cnpg
from cnpg_plugin_operator.cluster.cnpg_restart import Restarter
from cnpg_plugin_operator.desired.access import build_access
from cnpg_plugin_operator.desired.certificates import (
    build_chain,
    build_client_certificate,
    build_server_certificate,
)
from cnpg_plugin_operator.desired.drift import find_drift
from cnpg_plugin_operator.desired.service import build_endpoint, build_service
from cnpg_plugin_operator.desired.workload import build_deployment
from cnpg_plugin_operator.errors import ClusterError
from cnpg_plugin_operator.watch.facts import FactStore
from tests.cluster import Cluster
from tests.cluster.network import call_inside
from tests.support import wait
from tests.support.e2e.api import APPS, CORE, RBAC, Api, Object
from tests.support.e2e.plugins import collection
from tests.support.resources import Manifest, plugin

NAMESPACE = "e2e-apply"
NAME = "applied"
Result = TypeVar("Result")

UNSCHEDULED: dict[str, Any] = {"nodeSelector": {"example.com/nowhere": "true"}}
"""No pod is started: only the API server's handling of objects matters here."""

RICH: dict[str, Any] = {
    # Quantities that are returned in another form, values that are not returned at all.
    "resources": {
        "requests": {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": "0.5Gi"},
        "limits": {"cpu": 2, "memory": "2Gi"},
    },
    "env": [
        {"name": "EMPTY", "value": ""},
        {"name": "SET", "value": "1"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {
            "name": "LIMIT",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        },
    ],
    "envFrom": [{"configMapRef": {"name": "missing", "optional": True}}],
    "volumes": [
        {"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}},
        {"name": "nothing", "emptyDir": {}},
        {"name": "late", "configMap": {"name": "missing", "optional": True}},
    ],
    "volumeMounts": [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "nothing", "mountPath": "/nothing", "readOnly": False},
        {"name": "late", "mountPath": "/late", "readOnly": True},
    ],
    "probes": {
        "readiness": {"httpGet": {"path": "/", "port": 8081}, "periodSeconds": 5},
        "liveness": {},
    },
    "securityContext": {"runAsUser": 10001, "privileged": False},
    "podSecurityContext": {"fsGroup": 10001},
    "nodeSelector": {"example.com/nowhere": "true"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"a": "b"}},
        }
    ],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "0%"}},
    "podLabels": {"example.com/empty": ""},
    "podAnnotations": {"example.com/empty": ""},
    "podTemplate": {
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "hostAliases": [{"ip": "127.0.0.9", "hostnames": ["nine"]}],
            "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        }
    },
    "serviceAccount": {"create": True, "annotations": {"example.com/empty": ""}},
    "roles": ["missing"],
    "service": {
        "labels": {"example.com/empty": ""},
        "annotations": {"example.com/empty": ""},
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
    },
    "tls": {
        "duration": "720h",
        "renewBefore": "240h30m",
        "privateKey": {"algorithm": "RSA", "size": 2048},
        "dnsNames": ["*.example.com"],
    },
}


ZEROS: dict[str, Any] = {
    # Some are the same as no value, some get the default, and some are kept.
    "minReadySeconds": 0,
    "probes": {
        "readiness": {
            "tcpSocket": {"port": 9090},
            "initialDelaySeconds": 0,
            "timeoutSeconds": 0,
            "periodSeconds": 0,
            "successThreshold": 0,
            "failureThreshold": 0,
        },
    },
    "tolerations": [
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    ],
    "podTemplate": {"spec": {"terminationGracePeriodSeconds": 0}},
}


@pytest.fixture(scope="module")
def resource(cluster: Cluster, api: Api) -> Iterator[Object]:
    """An owner for the children; its namespace is not managed by the operator."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api.apply(f"{CORE}/namespaces/{NAMESPACE}", namespace, "tests", force=True)
    cluster.kubectl("delete", "cnpgplugin", "--all", "--namespace", NAMESPACE)
    yield api.create(collection("CNPGPlugin", NAMESPACE), plugin(NAME, NAMESPACE, **UNSCHEDULED))
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=300s")


def parsed(resource: Object, **spec: object) -> Plugin:
    """The resource as the operator reads it, with another spec."""
    return parse_plugin({**resource, "spec": {**resource["spec"], **spec}})


@pytest.fixture(scope="module")
def run(cluster: Cluster) -> "Run":
    return Run(cluster)


class Run:
    """Runs the operator's own client inside the cluster's network."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self, action: Callable[[Writer], Awaitable[Result]]) -> Result:
        async def connected() -> Result:
            client = await Client.connect(str(self._cluster.kubeconfig))
            try:
                return await action(Writer(client, FactStore()))
            finally:
                await client.close()

        return call_inside(self._cluster.layout.netns, lambda: asyncio.run(connected()))


def path_of(body: Object) -> str:
    return f"{collection(body['kind'], body['metadata']['namespace'])}/{body['metadata']['name']}"


def children(described: Plugin) -> list[Object]:
    published = {**build_endpoint(described), names.annotations.REVISION: "1"}
    return [
        *build_chain(described.namespace),
        build_server_certificate(described, [described.service_name]),
        build_client_certificate(described),
        *build_access(described, ()),
        build_deployment(described),
        build_service(described, published),
    ]


@pytest.mark.parametrize("spec", [{}, RICH, ZEROS], ids=["shortest", "rich", "zeros"])
def test_a_just_applied_object_equals_the_desired_one(
    run: Run, api: Api, resource: Object, spec: dict[str, Any]
) -> None:
    wanted = children(parsed(resource, **spec))

    async def apply_all(writer: Writer) -> None:
        for body in wanted:
            await writer.apply(body, None)

    async def apply_again(writer: Writer) -> list[str]:
        done = [(body, await writer.apply(body, api.get(path_of(body)))) for body in wanted]
        return [path_of(body) for body, (_, written) in done if written]

    run(apply_all)
    assert {path_of(body): find_drift(body, api.get(path_of(body))) for body in wanted} == (
        dict.fromkeys(map(path_of, wanted))
    )
    versions = {path_of(body): spec_version(api.get(path_of(body))) for body in wanted}
    assert run(apply_again) == []
    assert {path_of(body): spec_version(api.get(path_of(body))) for body in wanted} == versions


def spec_version(body: Object) -> object:
    """Increases with each change of the spec; controllers only change the status."""
    metadata = body["metadata"]
    return metadata.get("generation") or metadata.get("resourceVersion")


@pytest.fixture
def fresh(api: Api, resource: Object) -> Iterator[Object]:
    """The owner, and afterwards no Deployment of it."""
    yield resource
    path = f"{collection('Deployment', NAMESPACE)}/{NAME}"
    api.delete(path)
    wait.until("the Deployment is gone", lambda: api.find(path) is None, within=30)


def deployed(run: Run, api: Api, described: Plugin) -> Object:
    """Apply the Deployment as the operator does: knowing the live object."""
    body = build_deployment(described)
    live = api.find(path_of(body))

    async def apply(writer: Writer) -> None:
        await writer.apply(body, live)

    run(apply)
    return body


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"spec": {"replicas": 3}}, ".spec.replicas", id="number"),
        pytest.param(
            {"metadata": {"labels": {names.labels.MANAGED_BY: "x"}}},
            f".metadata.labels.{names.labels.MANAGED_BY}",
            id="label",
        ),
        pytest.param(
            {"metadata": {"ownerReferences": []}}, ".metadata.ownerReferences", id="owner"
        ),
        pytest.param(
            {"spec": {"strategy": {"type": "RollingUpdate"}}}, ".spec.strategy.type", id="string"
        ),
        pytest.param(
            {"metadata": {"annotations": {names.annotations.DESIRED: "0"}}},
            f"metadata.annotations.{names.annotations.DESIRED}",
            id="digest",
        ),
    ],
)
def test_an_edited_field_is_detected_and_restored(
    run: Run, api: Api, fresh: Object, change: dict[str, Any], path: str
) -> None:
    body = deployed(run, api, parsed(fresh))
    edited = api.patch(path_of(body), change)
    assert find_drift(body, edited) == path
    deployed(run, api, parsed(fresh))
    assert find_drift(body, api.get(path_of(body))) is None


def test_the_strategy_can_be_changed_both_ways(run: Run, api: Api, fresh: Object) -> None:
    """The API server fills in fields for the one strategy that it then forbids for the other."""
    for strategy in ("RollingUpdate", "Recreate", "RollingUpdate", "Recreate"):
        body = deployed(run, api, parsed(fresh, strategy={"type": strategy}))
        assert api.get(path_of(body))["spec"]["strategy"]["type"] == strategy


def test_fields_of_other_managers_survive(run: Run, api: Api, fresh: Object) -> None:
    body = deployed(run, api, parsed(fresh))
    path = path_of(body)
    container = {"name": "sidecar", "image": "localhost/pause:1"}
    theirs: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "annotations": {"example.com/theirs": "1"},
            "labels": {"example.com/theirs": "1"},
        },
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    api.apply(path, theirs, "somebody-else", force=False)
    deployed(run, api, parsed(fresh, podAnnotations={"example.com/ours": "2"}))
    live = api.get(path)
    assert live["metadata"]["annotations"]["example.com/theirs"] == "1"
    assert live["metadata"]["labels"]["example.com/theirs"] == "1"
    containers = live["spec"]["template"]["spec"]["containers"]
    assert {each["name"] for each in containers} == {"plugin", "sidecar"}
    wanted = build_deployment(parsed(fresh, podAnnotations={"example.com/ours": "2"}))
    assert find_drift(wanted, live) is None


def test_fields_that_the_spec_no_longer_requests_are_removed(
    run: Run, api: Api, fresh: Object
) -> None:
    more = parsed(
        fresh,
        env=[{"name": "GONE", "value": "x"}],
        podAnnotations={"example.com/gone": "x"},
        resources={"limits": {"memory": "64Mi"}},
        priorityClassName="system-node-critical",
    )
    deployed(run, api, more)
    less = parsed(fresh, env=[])
    body = build_deployment(less)
    assert find_drift(body, api.get(path_of(body))) is not None
    deployed(run, api, less)
    template = api.get(path_of(body))["spec"]["template"]
    [container] = template["spec"]["containers"]
    assert "GONE" not in [each["name"] for each in container["env"]]
    assert container["resources"] == {}
    assert "priorityClassName" not in template["spec"]
    assert "example.com/gone" not in (template["metadata"].get("annotations") or {})


def test_a_withdrawn_announcement_leaves_no_label(run: Run, api: Api, resource: Object) -> None:
    described = parsed(resource)
    shown = build_service(described, build_endpoint(described))
    hidden = build_service(described, None)

    async def apply(writer: Writer) -> None:
        await writer.apply(shown, None)
        await writer.apply(hidden, None)

    run(apply)
    metadata = api.get(path_of(shown))["metadata"]
    assert [key for key in metadata["labels"] if key.startswith("cnpg.io/")] == []
    assert [key for key in metadata["annotations"] if key.startswith("cnpg.io/")] == []


CNPG = "cloudnative-pg-stand-in"


@pytest.fixture
def stand_in(api: Api, resource: Object) -> Iterator[str]:
    """A Deployment like CloudNativePG's, with annotations of others on its pod template."""
    labels = {"app.kubernetes.io/name": "stand-in"}
    body: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": CNPG, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"example.com/theirs": "1"}},
                "spec": {"containers": [{"name": "manager", "image": "localhost/pause:1"}]},
            },
        },
    }
    path = f"{APPS}/namespaces/{NAMESPACE}/deployments/{CNPG}"
    api.apply(path, body, "installer", force=True)
    yield path
    api.delete(path)
    wait.until("the stand-in is gone", lambda: api.find(path) is None, within=30)


def restart(run: Run, deployment: Object, revisions: dict[str, str]) -> None:
    facts = read_cnpg(deployment, None)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    async def ask(writer: Writer) -> None:
        record = RestartRecord(at=now, revisions=revisions, attempts=1, generation=1)
        await Restarter(writer._client).restart(facts, record)

    run(ask)


def test_a_restart_owns_two_annotations_and_nothing_else(run: Run, api: Api, stand_in: str) -> None:
    before = api.get(stand_in)
    restart(run, before, {"a": "1"})
    after = api.get(stand_in)
    annotations = after["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "example.com/theirs": "1",
        names.annotations.RESTARTED_AT: "2026-01-02T03:04:05Z",
        names.annotations.RESTARTED_FOR: '{"a": "1"}',
    }
    [owned] = [
        entry["fieldsV1"]
        for entry in after["metadata"]["managedFields"]
        if entry["manager"] == names.managers.RESTART
    ]
    fields = owned["f:spec"]["f:template"]["f:metadata"]["f:annotations"]
    assert set(fields) == {
        f"f:{names.annotations.RESTARTED_AT}",
        f"f:{names.annotations.RESTARTED_FOR}",
    }
    del owned["f:spec"]["f:template"]["f:metadata"]["f:annotations"]
    assert owned == {"f:spec": {"f:template": {"f:metadata": {}}}}
    unchanged = copy.deepcopy(after["spec"])
    unchanged["template"]["metadata"]["annotations"] = {"example.com/theirs": "1"}
    assert unchanged == before["spec"]


def test_restarting_a_missing_deployment_does_not_create_it(
    run: Run, api: Api, stand_in: str
) -> None:
    before = api.get(stand_in)
    api.delete(stand_in)
    wait.until("it is gone", lambda: api.find(stand_in) is None, within=30)
    with pytest.raises(ClusterError):
        restart(run, before, {"a": "1"})
    assert api.find(stand_in) is None


def test_restarting_a_recreated_deployment_is_refused(run: Run, api: Api, stand_in: str) -> None:
    deployment = api.get(stand_in)
    stale = copy.deepcopy(deployment)
    stale["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ClusterError):
        restart(run, stale, {"a": "1"})
    assert api.get(stand_in)["metadata"]["generation"] == deployment["metadata"]["generation"]


def test_finalizer_and_status_have_separate_owners(run: Run, api: Api, resource: Object) -> None:
    path = f"{collection('CNPGPlugin', NAMESPACE)}/second"
    body = api.create(collection("CNPGPlugin", NAMESPACE), plugin("second", NAMESPACE))
    described = parse_plugin(body)
    foreign = {"metadata": {"finalizers": ["example.com/theirs"]}}
    api.patch(path, foreign)

    async def add_finalizer(writer: Writer) -> None:
        await writer.add_finalizer(described)
        await writer.report(described, {"observedGeneration": 1})

    async def remove_finalizer(writer: Writer) -> None:
        await writer.remove_finalizer(described)

    run(add_finalizer)
    held = api.get(path)
    assert set(held["metadata"]["finalizers"]) == {"example.com/theirs", names.resource.FINALIZER}
    assert held["status"]["observedGeneration"] == 1
    run(remove_finalizer)
    released = api.get(path)
    assert released["metadata"]["finalizers"] == ["example.com/theirs"]
    assert released["status"]["observedGeneration"] == 1
    api.patch(path, {"metadata": {"finalizers": None}})
    api.delete(path)


def test_an_unknown_field_is_an_error_that_names_it(run: Run, resource: Object) -> None:
    body = build_deployment(parsed(resource, podTemplate={"spec": {"noSuchField": 1}}))

    async def apply(writer: Writer) -> None:
        await writer.apply(body, None)

    with pytest.raises(ClusterError, match="noSuchField"):
        run(apply)


def test_a_role_binding_cannot_change_its_role(run: Run, api: Api, resource: Object) -> None:
    """Why bindings have their role's name: the API server never changes `roleRef`."""
    described = parsed(resource, roles=["one"], serviceAccount={"create": True})
    binding = next(b for b in build_access(described, ()) if b["kind"] == "RoleBinding")

    async def apply(writer: Writer) -> None:
        await writer.apply(binding, None)

    run(apply)
    other = build_access(parsed(resource, roles=["two"], serviceAccount={"create": True}), ())
    name = next(b for b in other if b["kind"] == "RoleBinding")["metadata"]["name"]
    assert name != binding["metadata"]["name"]
    path = f"{RBAC}/namespaces/{NAMESPACE}/rolebindings/{binding['metadata']['name']}"
    assert api.get(path)["roleRef"]["name"] == "one"
    turned = {**binding, "roleRef": {**binding["roleRef"], "name": "two"}}

    async def turn(writer: Writer) -> None:
        await writer.apply(turned, None)

    with pytest.raises(ClusterError, match="cannot change roleRef"):
        run(turn)
