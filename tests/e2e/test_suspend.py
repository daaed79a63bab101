"""`suspend` stops the operator's changes, and is reported."""

import pytest

from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection
from tests.support.resources import plugin

pytestmark = pytest.mark.cnpg("untouched")

NAME = "suspended"


def test_a_suspended_plugin_is_left_alone_until_it_is_resumed(
    operator: Operator, plugins: Plugins
) -> None:
    plugins.apply(plugin(NAME))
    plugins.until_ready(NAME)
    plugins.patch(NAME, suspend=True)
    found = plugins.until_condition(NAME, "Suspended", "Suspended", within=10)
    assert found["status"] == "True"
    assert "spec.suspend" in found["message"]
    assert plugins.condition(NAME, "Ready")["status"] == "True"
    operator.writes_until_calm(operator.audit.mark())

    mark = operator.audit.mark()
    operator.api.patch(f"{collection('Deployment')}/{NAME}", {"spec": {"replicas": 0}})
    plugins.delete("Certificate", f"{NAME}-client-tls")
    assert operator.writes_until_calm(mark) == []
    assert plugins.labelled(NAME), "a working plugin was withdrawn"
    assert plugins.get("Deployment", NAME)["spec"]["replicas"] == 0

    plugins.patch(NAME, suspend=False)
    plugins.until_ready(NAME)
    assert plugins.get("Deployment", NAME)["spec"]["replicas"] == 1
    assert plugins.find("Certificate", f"{NAME}-client-tls") is not None


def test_a_plugin_suspended_from_the_start_creates_nothing(plugins: Plugins) -> None:
    plugins.apply(plugin(NAME, suspend=True))
    plugins.until_condition(NAME, "Ready", "Suspended", within=10)
    plugins.never(
        "something was made",
        lambda: [k for k in ("Service", "Deployment") if plugins.find(k, NAME) is not None],
        of=NAME,
    )
