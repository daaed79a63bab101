"""How much a plugin costs the API server. Needs a namespace without plugins."""

import pytest

from tests.support import wait
from tests.support.e2e.operator import Operator, Request
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import NAMESPACE, plugin

pytestmark = pytest.mark.cnpg("untouched")

MOST = 15
FIRST, SECOND = "writes-first", "writes-second"


def cost_of(operator: Operator, plugins: Plugins, name: str) -> list[Request]:
    mark = operator.audit.mark()
    plugins.apply(plugin(name))
    plugins.until_ready(name)
    return operator.writes_until_calm(mark)


def as_lines(requests: list[Request]) -> str:
    return "\n".join(map(str, requests))


@pytest.fixture(scope="module")
def first(operator: Operator, module_plugins: Plugins) -> list[Request]:
    assert not operator.api.list(collection("CNPGPlugin")), "another plugin has the chain already"
    return cost_of(operator, module_plugins, FIRST)


@pytest.fixture(scope="module")
def second(operator: Operator, module_plugins: Plugins, first: list[Request]) -> list[Request]:
    return cost_of(operator, module_plugins, SECOND)


def test_the_first_plugin_of_a_namespace_costs_at_most_15_writes_with_its_chain(
    first: list[Request],
) -> None:
    print(as_lines(first))
    assert len(first) <= MOST, as_lines(first)


def test_a_following_plugin_costs_at_most_15_writes(second: list[Request]) -> None:
    print(as_lines(second))
    assert len(second) <= MOST, as_lines(second)


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("kind", ["CNPGPlugin", "Service", "Deployment", "Secret"])
def test_a_pass_with_nothing_to_do_writes_nothing(
    operator: Operator, module_plugins: Plugins, kind: str
) -> None:
    name = f"{SECOND}-server-tls" if kind == "Secret" else SECOND
    operator.writes_until_calm(operator.audit.mark())
    mark, before = operator.audit.mark(), operator.passes()
    change = {"metadata": {"annotations": {"example.com/woken-by": kind}}}
    operator.api.patch(f"{collection(kind)}/{name}", change)
    wait.until(
        f"a change of the {kind} wakes the operator",
        lambda: operator.passes() > before,
        within=5,
        explain=lambda: module_plugins.explain(SECOND),
    )
    assert operator.writes_until_calm(mark) == []


@pytest.mark.usefixtures("second")
def test_the_chain_is_deleted_with_the_last_plugin_and_not_earlier(
    operator: Operator, module_plugins: Plugins
) -> None:
    def chain() -> list[str]:
        return [
            f"{kind} {item['metadata']['name']}"
            for kind in ("Certificate", "Issuer", "Secret")
            for item in operator.api.list(collection(kind), labelSelector="cnpgplugin.dev/chain")
        ]

    whole = chain()
    assert len(whole) == 7, whole
    module_plugins.remove(FIRST)
    assert chain() == whole
    module_plugins.remove(SECOND)
    wait.until("the chain is gone", lambda: not chain(), within=10, explain=lambda: str(chain()))
    left = operator.cluster.kubectl(
        *("get", "deployments,services,secrets,certificates,issuers,serviceaccounts"),
        *("--namespace", NAMESPACE, "-o", "name"),
        "--selector=app.kubernetes.io/managed-by=cnpg-plugin-operator",
    )
    assert left == ""
