"""The users of a Secret are read from every kind that can use one, with few requests."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.cluster.private_secrets import bound, named_in, read_private_secrets
from cnpg_plugin_operator.decide.acceptance.private_secrets import SECRETS_LIMIT, PrivateSecrets
from cnpg_plugin_operator.desired.protection import Pods
from cnpg_plugin_operator.watch.wakeups import marks_of, plugin_mark, secret_mark, service_mark
from tests.support.unit.builders import plugin, resource
from tests.support.unit.fake_cluster import FakeCluster

NAMESPACE = "cnpg-system"
LOOT = "loot"


class CountingClient(FakeCluster):
    """Records the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        self.asked.append(f"get {kind.kind} {name}")
        return await super().get(kind, name, namespace)

    async def list(self, kind: Kind, namespace: str | None = None, **selectors: Any) -> Any:
        self.asked.append(f"list {kind.kind}")
        return await super().list(kind, namespace, **selectors)


def meta(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, **fields}


def cnpg(name: str = "cnpg", labels: dict[str, str] | None = None, **pod: Any) -> dict[str, Any]:
    manager = {"name": "manager", "args": pod.pop("args", []), "env": pod.pop("env", [])}
    return {
        "metadata": meta(name, labels=labels or {names.labels.NAME: names.cnpg.APP}),
        "spec": {"template": {"spec": {"containers": [manager], **pod}}},
    }


def service(key: str, **labels: str) -> dict[str, Any]:
    return {"metadata": meta("barman", annotations={key: LOOT}, labels=labels)}


def issuer(**spec: Any) -> dict[str, Any]:
    return {"metadata": meta("company"), "spec": spec}


OWN = {"app.kubernetes.io/name": "cnpg-plugin-operator", "app.kubernetes.io/instance": "ours"}


def deployment(
    pod_labels: dict[str, str], labels: dict[str, str] | None = None, **pod: Any
) -> dict[str, Any]:
    template = {"metadata": {"labels": pod_labels}, "spec": pod}
    return {"metadata": meta("d", labels=labels or {}), "spec": {"template": template}}


MOUNTED = [{"name": "cert", "secret": {"secretName": LOOT}}]
KEY = {"secretKeyRef": {"name": LOOT, "key": "k"}}
CA = {"ca": {"secretName": LOOT}}
ACCOUNT = {"acme": {"privateKeySecretRef": {"name": LOOT}}}

USERS: list[Any] = [
    pytest.param(kinds.DEPLOYMENT, cnpg(volumes=MOUNTED), "CloudNativePG's own pod uses it",
                 id="a volume of CloudNativePG"),
    pytest.param(kinds.DEPLOYMENT, cnpg(env=[{"name": "A", "valueFrom": KEY}]),
                 "CloudNativePG's own pod uses it", id="a variable of CloudNativePG"),
    pytest.param(kinds.DEPLOYMENT, cnpg(args=["--secret-name", LOOT]), "its configuration",
                 id="CloudNativePG's configuration"),
    pytest.param(kinds.DEPLOYMENT, cnpg(args=[f"--secret-name={LOOT}"]), "its configuration",
                 id="the same in one argument"),
    pytest.param(kinds.DEPLOYMENT, cnpg(imagePullSecrets=[{"name": LOOT}]), "image is pulled",
                 id="CloudNativePG's pull secret"),
    pytest.param(kinds.DEPLOYMENT, deployment({**OWN, "a": "b"}, volumes=MOUNTED),
                 "the operator's own pod uses it", id="a volume of this operator"),
    pytest.param(kinds.DEPLOYMENT, deployment(OWN, imagePullSecrets=[{"name": LOOT}]),
                 "the operator's image is pulled", id="this operator's pull secret"),
    pytest.param(kinds.SERVICE, service(names.cnpg.CLIENT_SECRET), "Service barman names it",
                 id="the client pair of a plugin deployed by hand"),
    pytest.param(kinds.SERVICE, service(names.cnpg.SERVER_SECRET), "Service barman names it",
                 id="the server pair of a plugin deployed by hand"),
    pytest.param(kinds.ISSUER, issuer(**CA), "Issuer company signs with it", id="a CA Issuer"),
    pytest.param(kinds.CLUSTER_ISSUER, issuer(**CA), "ClusterIssuer company signs with it",
                 id="a CA ClusterIssuer"),
    pytest.param(kinds.ISSUER, issuer(**ACCOUNT), "Issuer company authenticates with it",
                 id="an account of an Issuer"),
]  # fmt: skip


async def read(
    client: FakeCluster, *siblings: dict[str, Any], name: str = LOOT, home: str = NAMESPACE
) -> PrivateSecrets:
    return await read_private_secrets(
        client, plugin(), {name}, siblings, {"named-cnpg"}, operator=Pods(home, OWN)
    )


@pytest.mark.parametrize(("kind", "body", "words"), USERS)
async def test_every_user_of_a_secret_is_named(
    kind: Kind, body: dict[str, Any], words: str
) -> None:
    client = FakeCluster()
    client.put(kind, body)

    assert words in (await read(client)).used[LOOT]


async def test_a_deployment_identified_as_cloudnativepg_counts_whatever_its_fields() -> None:
    client = FakeCluster()
    client.put(kinds.DEPLOYMENT, cnpg("named-cnpg", {"app": "x"}, volumes=MOUNTED))
    assert LOOT in (await read(client)).used


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(kinds.DEPLOYMENT, cnpg("x", {"app": "x"}, volumes=MOUNTED), id="a Deployment"),
        pytest.param(
            kinds.DEPLOYMENT,
            cnpg("x", {names.labels.MANAGED_BY: names.resource.OPERATOR}, volumes=MOUNTED,
                 env=[{"name": names.cnpg.IMAGE_VARIABLE}]),
            id="a plugin that looks like CloudNativePG",
        ),
        pytest.param(
            kinds.DEPLOYMENT,
            deployment(
                OWN, {names.labels.MANAGED_BY: names.resource.OPERATOR}, volumes=MOUNTED
            ),
            id="a plugin whose pods look like this operator's",
        ),
        pytest.param(
            kinds.DEPLOYMENT,
            deployment({**OWN, "app.kubernetes.io/instance": "other"}, volumes=MOUNTED),
            id="another release of this operator",
        ),
        pytest.param(
            kinds.DEPLOYMENT,
            cnpg(
                volumes=[{**MOUNTED[0], "name": names.sidecars.volume("hello", "cert")}],
                initContainers=[{"name": names.sidecars.container("hello"), "envFrom": [
                    {"secretRef": {"name": LOOT}}]}],
            ),
            id="a sidecar in CloudNativePG's pod",
        ),
        pytest.param(
            kinds.SERVICE,
            service(names.cnpg.CLIENT_SECRET, **{names.labels.MANAGED_BY: names.resource.OPERATOR}),
            id="a Service of this operator",
        ),
        pytest.param(kinds.ISSUER, issuer(selfSigned={}), id="an Issuer without a Secret"),
    ],
)  # fmt: skip
async def test_a_secret_is_not_private_because_of(kind: Kind, body: dict[str, Any]) -> None:
    client = FakeCluster()
    client.put(kind, body)
    assert LOOT not in (await read(client)).used


async def test_pods_with_this_operators_labels_elsewhere_are_others() -> None:
    client = FakeCluster()
    client.put(kinds.DEPLOYMENT, deployment(OWN, volumes=MOUNTED))
    assert LOOT not in (await read(client, home="elsewhere")).used


OPERATORS = {names.labels.MANAGED_BY: names.resource.OPERATOR}
SECRETS: list[Any] = [
    pytest.param(
        {"type": "kubernetes.io/service-account-token"},
        {"annotations": {"kubernetes.io/service-account.name": "admin"}},
        "it contains a token of ServiceAccount admin", id="a token",
    ),
    pytest.param({"type": "bootstrap.kubernetes.io/token"}, {}, "nodes", id="a bootstrap token"),
    pytest.param({"type": "helm.sh/release.v1"}, {}, "Helm stores a release", id="a Helm release"),
    pytest.param({}, {"labels": OPERATORS}, "the operator keeps it", id="the operator's"),
    pytest.param(
        {}, {"labels": {**OPERATORS, names.labels.PLUGIN: "other"}}, "for CNPGPlugin other",
        id="another plugin's",
    ),
    pytest.param(
        {}, {"labels": {"cert-manager.io/next-private-key": "true"}}, "a new private key",
        id="cert-manager's next key",
    ),
    pytest.param(
        {}, {"ownerReferences": [{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
                                  "name": "db"}]},
        "Cluster db owns it", id="a database's",
    ),
    pytest.param({"type": "Opaque"}, {"labels": {"app": "x"}}, "", id="an unused one"),
    pytest.param(
        {}, {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]}, "",
        id="one that another object owns",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "metadata", "words"), SECRETS)
async def test_a_secret_is_classified_by_its_content(
    body: dict[str, Any], metadata: dict[str, Any], words: str
) -> None:
    client = FakeCluster()
    client.put(kinds.SECRET, {**body, "metadata": meta(LOOT, **metadata)})
    found = (await read(client)).existing[LOOT]
    assert words in found
    assert bool(found) == bool(words)


async def test_a_missing_secret_is_not_among_the_existing() -> None:
    assert (await read(FakeCluster())).existing == {}
    assert (await read(FakeCluster(), name="../pods")).existing == {}


@pytest.mark.parametrize(
    ("spec", "provided"),
    [
        ({"tls": {"provider": "Secrets", "secrets": {"server": "a", "client": "b"}}}, {"a", "b"}),
        ({"tls": {"secrets": {"server": "a", "x": 1}}, "port": "none"}, {"a"}),
        ({"tls": {"secrets": ["a"]}}, set()),
        ({"tls": "x"}, set()),
        ("x", set()),
        (None, set()),
    ],
)
async def test_the_claims_of_a_resource_are_read_whatever_its_spec_contains(
    spec: Any, provided: set[str]
) -> None:
    sibling = {**resource("other"), "spec": spec}
    (claim,) = (await read(FakeCluster(), sibling)).claims
    assert claim.plugin == "other"
    assert claim.provided == provided


async def test_nothing_is_read_for_a_resource_that_names_no_secret() -> None:
    client = CountingClient()
    assert await read_private_secrets(client, plugin(), (), (), ()) == PrivateSecrets()
    assert client.asked == []


async def test_secrets_are_read_one_by_one_and_never_listed() -> None:
    client = CountingClient()
    await read_private_secrets(client, plugin(), {"a", "b"}, (), ())
    assert sorted(client.asked) == [
        "get Secret a",
        "get Secret b",
        "list ClusterIssuer",
        "list Deployment",
        "list Issuer",
        "list Service",
    ]


async def test_without_cert_manager_there_are_no_issuers() -> None:
    client = FakeCluster()
    client.missing = {"Issuer", "ClusterIssuer"}
    assert set((await read(client)).used) == names.cnpg.PRIVATE_SECRETS


def test_a_resource_is_woken_by_every_secret_that_it_names() -> None:
    spec = {
        "pluginName": "hello.example.org",
        "envFrom": [{"secretRef": {"name": "a"}}],
        "podTemplate": {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "b"}}]}},
        "tls": {"secrets": {"server": "c", "client": 1}},
        "imagePullSecrets": [{"name": "d"}],
    }
    found = {plugin_mark("hello.example.org"), service_mark("hello"), *map(secret_mark, "abc")}
    assert marks_of("hello", spec) == found


def test_a_resource_with_too_many_secrets_is_woken_by_none_of_them() -> None:
    spec = {"envFrom": [{"secretRef": {"name": f"s{i}"}} for i in range(SECRETS_LIMIT + 1)]}
    assert bound(named_in(spec)) == ()
    assert marks_of("hello", spec) == {plugin_mark(""), service_mark("hello")}
