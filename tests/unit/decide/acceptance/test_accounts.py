"""The operator decides which account a plugin's pod runs under, and whether it has a token."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Status
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants, decide_acceptance
from cnpg_plugin_operator.desired.access import build_access
from cnpg_plugin_operator.desired.workload import build_pod_template
from cnpg_plugin_operator.errors import InvalidSpecError
from tests.support.unit.builders import plugin
from tests.unit.decide.acceptance.test_acceptance import given

NONE: dict[str, Any] = {}
MADE: dict[str, Any] = {"serviceAccount": {"create": True}}
NAMED = {"serviceAccount": {"create": True, "name": "cnpg-plugin-mine"}}
FOR_ROLES = {"roles": ["reader"]}
EXISTING = {"serviceAccount": {"name": "plugins"}}
GRANTS = Grants(roles=frozenset({"reader"}), service_accounts=frozenset({"plugins"}))

ACCOUNTS = [
    pytest.param(NONE, "default", False, id="none"),
    pytest.param(MADE, "cnpg-plugin-hello", True, id="one that is made"),
    pytest.param(NAMED, "cnpg-plugin-mine", True, id="one that is made under a name"),
    pytest.param(FOR_ROLES, "cnpg-plugin-hello", True, id="one that roles need"),
    pytest.param(EXISTING, "plugins", True, id="one that exists"),
]
SAYINGS = [
    pytest.param({}, id="nothing"),
    pytest.param({"automountServiceAccountToken": None}, id="null for the token"),
    pytest.param({"serviceAccountName": None}, id="null for the account"),
    pytest.param({"serviceAccount": None}, id="null for its deprecated name"),
    pytest.param(
        {"automountServiceAccountToken": True, "serviceAccountName": "cnpg-manager"}, id="another"
    ),
    pytest.param({"serviceAccount": "cnpg-manager"}, id="another by the deprecated name"),
    pytest.param({"automountServiceAccountToken": {"a": 1}}, id="an object"),
]


@pytest.mark.parametrize("says", SAYINGS)
@pytest.mark.parametrize(("spec", "account", "token"), ACCOUNTS)
def test_a_pod_template_decides_neither_account_nor_token(
    spec: dict[str, Any], account: str, says: dict[str, Any], *, token: bool
) -> None:
    subject = plugin(**spec, podTemplate={"spec": says})
    pod = build_pod_template(subject)["spec"]

    assert pod["serviceAccountName"] == account
    assert pod["automountServiceAccountToken"] is token
    assert "serviceAccount" not in pod


@pytest.mark.parametrize("spec", [NONE, MADE, NAMED, FOR_ROLES, EXISTING])
def test_a_pod_template_may_decline_the_token(spec: dict[str, Any]) -> None:
    subject = plugin(**spec, podTemplate={"spec": {"automountServiceAccountToken": False}})

    assert build_pod_template(subject)["spec"]["automountServiceAccountToken"] is False
    assert decide_acceptance(given(subject, grants=GRANTS)).status is Status.TRUE


DIFFERENT = [
    pytest.param(NONE, {"automountServiceAccountToken": True}, id="a token without an account"),
    pytest.param(NONE, {"serviceAccountName": "plugins"}, id="an account that is granted"),
    pytest.param(MADE, {"serviceAccountName": "default"}, id="the default account"),
    pytest.param(MADE, {"serviceAccount": "cnpg-manager"}, id="by the deprecated name"),
    pytest.param(EXISTING, {"serviceAccountName": ["plugins"]}, id="a list"),
]


@pytest.mark.parametrize(("spec", "says"), DIFFERENT)
def test_a_contradicting_pod_template_is_refused(
    spec: dict[str, Any], says: dict[str, Any]
) -> None:
    subject = plugin(**spec, podTemplate={"spec": says})
    verdict = decide_acceptance(given(subject, grants=GRANTS))

    assert verdict.reason is Reason.INVALID_SPEC
    assert "account" in verdict.message


def projected(**source: Any) -> dict[str, Any]:
    return {"name": "proof", "projected": {"sources": [{"configMap": {"name": "x"}}, source]}}


PROOFS = [
    pytest.param(projected(serviceAccountToken={"path": "token"}), id="a token"),
    pytest.param(projected(serviceAccountToken=None), id="a token that is null"),
    pytest.param(projected(podCertificate={"signerName": "x/y"}), id="a certificate"),
]


@pytest.mark.parametrize("volume", PROOFS)
def test_without_an_account_no_volume_contains_its_credentials(volume: dict[str, Any]) -> None:
    by_template: dict[str, Any] = {"podTemplate": {"spec": {"volumes": [volume]}}}
    for spec in ({"volumes": [volume]}, by_template):
        verdict = decide_acceptance(given(plugin(**spec)))

        assert verdict.reason is Reason.INVALID_SPEC
        assert "spec.serviceAccount" in verdict.message
        assert "volume proof" in verdict.message


@pytest.mark.parametrize("spec", [MADE, NAMED, FOR_ROLES, EXISTING])
def test_a_plugin_may_mount_the_credentials_of_its_own_account(spec: dict[str, Any]) -> None:
    token = projected(serviceAccountToken={"path": "token", "audience": "vault"})

    assert decide_acceptance(given(plugin(**spec, volumes=[token]), grants=GRANTS)).is_true


def test_the_pod_runs_under_the_created_account() -> None:
    subject = plugin(**MADE)
    [account] = [b for b in build_access(subject, ()) if b["kind"] == "ServiceAccount"]

    assert account["metadata"]["name"] == names.children.account("hello")


@pytest.mark.parametrize("name", ["cnpg-manager", "hello", "cnpg-plugin", "x-cnpg-plugin-y"])
def test_no_account_is_created_under_a_name_that_others_use(name: str) -> None:
    with pytest.raises(InvalidSpecError, match="must begin with cnpg-plugin-"):
        plugin(serviceAccount={"create": True, "name": name})
