"""Whatever a name contains, a request goes to one object of one kind in one namespace, or is
refused.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio import client as kubernetes

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.addresses import field_selector, is_name, label_selector
from cnpg_plugin_operator.cluster.cert_manager import read_issuer
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.cnpg_pods import list_pods
from cnpg_plugin_operator.cluster.scope import Scope
from cnpg_plugin_operator.cluster.snapshot import ClusterReader
from cnpg_plugin_operator.watch.facts import FactStore
from tests.support.unit.builders import plugin, resource
from tests.support.unit.fake_cluster import FakeCluster

Call: TypeAlias = Callable[[Client, str], Awaitable[Any]]

IMPOSSIBLE = [
    pytest.param("", id="nothing"),
    pytest.param(".", id="the same directory"),
    pytest.param("..", id="the directory above"),
    pytest.param("../..", id="two above"),
    pytest.param("../../secrets/cnpg-ca-secret", id="another kind"),
    pytest.param("../../../kube-system/deployments/coredns", id="another namespace"),
    pytest.param("a/scale", id="a subresource"),
    pytest.param("%2e%2e", id="escaped dots"),
    pytest.param("a%2fscale", id="an escaped slash"),
    pytest.param("%252e%252e", id="dots that are escaped twice"),
    pytest.param("a" * 254, id="a name that is too long"),
    pytest.param("a\nb", id="a line break"),
    pytest.param("a\x00", id="a null character"),
]
ODD = [
    pytest.param("a?watch=1", id="a query"),
    pytest.param("a#b", id="a fragment"),
    pytest.param("a b", id="a space"),
    pytest.param("a;b=c", id="a parameter"),
    pytest.param("a\\b", id="a backslash"),
    pytest.param("{name}", id="a placeholder"),
    pytest.param("system:node", id="a colon"),
    pytest.param("...", id="three dots"),
    pytest.param("aé", id="a letter beyond ASCII"),
]

CALLS: list[Any] = [
    pytest.param(lambda c, n: c.get(kinds.DEPLOYMENT, n, "here"), id="get"),
    pytest.param(lambda c, n: c.list(kinds.SECRET, n), id="list"),
    pytest.param(lambda c, n: c.merge_patch(kinds.POD, n, "here", {}), id="patch"),
    pytest.param(lambda c, n: c.delete(kinds.SERVICE, n, "here"), id="delete"),
    pytest.param(
        lambda c, n: c.apply(
            kinds.SERVICE, {"metadata": {"name": n, "namespace": "here"}}, manager="m"
        ),
        id="apply",
    ),
    pytest.param(
        lambda c, n: c.create(kinds.EVENT, {"metadata": {"namespace": n}}), id="create"
    ),
    pytest.param(
        lambda c, n: c.apply(
            kinds.PLUGIN,
            {"metadata": {"name": "a", "namespace": "here"}},
            manager="m",
            subresource=n,
        ),
        id="a subresource",
    ),
]  # fmt: skip


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Client, list[str]]]:
    """A client of a server that answers everything, and the raw targets of its requests."""
    targets: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        targets.append(request.raw_path)
        return web.json_response({"metadata": {"name": "x"}, "items": []})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    configuration = kubernetes.Configuration(host=f"http://{host}:{port}")
    client = Client(kubernetes.ApiClient(configuration))
    yield client, targets
    await client.close()
    await runner.cleanup()


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("call", CALLS)
async def test_no_request_is_made_for_an_impossible_name(
    asked: tuple[Client, list[str]], call: Call, name: str
) -> None:
    client, targets = asked
    with pytest.raises(errors.RejectedError):
        await call(client, name)
    assert targets == []


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_name_stays_one_segment_of_the_path(
    asked: tuple[Client, list[str]], name: str
) -> None:
    client, targets = asked
    await client.get(kinds.DEPLOYMENT, name, "here")
    (target,) = targets
    path, _, query = target.partition("?")
    assert query == ""
    assert path.count("/") == 7
    assert path.startswith("/apis/apps/v1/namespaces/here/deployments/")


@given(st.text())
def test_the_path_of_an_object_has_one_more_segment_than_its_collection(name: str) -> None:
    if not is_name(name):
        with pytest.raises(errors.InvalidNameError):
            kinds.SECRET.path("here", name)
        return
    path = kinds.SECRET.path("here", name)
    assert path.rpartition("/")[0] == kinds.SECRET.path("here")
    assert not set(path) & set("?#\\ ")


async def test_an_object_with_an_impossible_name_does_not_exist(
    asked: tuple[Client, list[str]],
) -> None:
    client, targets = asked
    assert await client.find(kinds.SECRET, "../pods", "here") is None
    assert targets == []


@pytest.mark.parametrize("name", IMPOSSIBLE[2:])
async def test_a_resource_stored_before_the_rules_reads_no_other_object(
    asked: tuple[Client, list[str]], name: str
) -> None:
    client, targets = asked
    reader = ClusterReader(client, FactStore(), Scope(("here",)), lambda: datetime.now(UTC))
    assert await reader.cnpg("here", name) == ()
    issued = plugin(tls={"issuerRef": {"name": "mine"}})
    issuer = issued.spec.tls.issuer_ref
    object.__setattr__(issuer, "name", name)
    facts = await read_issuer(client, issued)
    assert facts is not None
    assert not facts.exists
    assert targets == []


FIELDS: list[Any] = [
    pytest.param({"cnpg": {"deploymentName": "../.."}}, "spec.cnpg.deploymentName", id="cnpg"),
    pytest.param({"tls": {"issuerRef": {"name": "../a"}}}, "issuerRef.name", id="an issuer"),
    pytest.param({"tls": {"issuerRef": {"name": "a", "kind": "../A"}}}, "kind", id="its kind"),
    pytest.param({"tls": {"issuerRef": {"name": "a", "group": "../v1"}}}, "group", id="its group"),
    pytest.param(
        {"tls": {"provider": "Secrets", "secrets": {"server": "a?b", "client": "c"}}},
        "tls.secrets.server", id="a Secret",
    ),
    pytest.param({"serviceAccount": {"name": "../a"}}, "serviceAccount.name", id="an account"),
    pytest.param({"service": {"name": "a/b"}}, "service.name", id="a Service"),
    pytest.param({"roles": [".."]}, "roles.0", id="a Role"),
    pytest.param({"clusterRoles": ["a/b"]}, "clusterRoles.0", id="a ClusterRole"),
    pytest.param({"pluginName": "a,b=c"}, "pluginName", id="the plugin"),
    pytest.param({"priorityClassName": "../a"}, "priorityClassName", id="a priority class"),
    pytest.param({"tls": {"dnsNames": ["a b"]}}, "dnsNames.0", id="a DNS name"),
    pytest.param({"tls": {"dnsNames": ["10.0.0.1"]}}, "IP address", id="an IP address"),
    pytest.param({"tls": {"dnsNames": ["a"] * 33}}, "dnsNames", id="too many DNS names"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), FIELDS)
def test_an_impossible_name_is_an_invalid_spec(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidSpecError, match=words):
        parse_plugin({**resource(), "spec": {**resource()["spec"], **spec}})


@pytest.mark.parametrize("name", ["a.b", "A", "..", "a" * 64, "a,b", ""])
def test_a_resource_name_that_is_no_label_value_is_an_invalid_spec(name: str) -> None:
    with pytest.raises(errors.InvalidSpecError, match=r"metadata\.name"):
        parse_plugin(resource(name))


def test_a_selector_has_exactly_the_given_conditions() -> None:
    assert label_selector({"a": "b", "c.d/e": ""}, "f") == "a=b,c.d/e=,f"
    assert field_selector({"a.b": "c", "d": "e"}) == "a.b=c,d=e"


@pytest.mark.parametrize("value", ["a,b", "a=b", "a b", "!a", "a)", "-a", "a" * 64, "a\n"])
async def test_no_value_adds_a_condition_to_a_selector(value: str) -> None:
    selector = {"matchLabels": {"app": value}}
    deployment = {"metadata": {"namespace": "cnpg-system"}, "spec": {"selector": selector}}
    with pytest.raises(errors.RejectedError):
        label_selector({names.labels.PLUGIN: value})
    with pytest.raises(errors.RejectedError):
        label_selector({}, value)
    with pytest.raises(errors.RejectedError):
        await list_pods(FakeCluster(), deployment)


@pytest.mark.parametrize("value", ["a,b=c", "a=b", "", "a\\,b"])
def test_no_value_adds_a_condition_to_a_field_selector(value: str) -> None:
    with pytest.raises(errors.RejectedError):
        field_selector({"involvedObject.name": value})
