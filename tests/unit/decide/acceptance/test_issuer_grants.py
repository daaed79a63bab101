"""An author gets certificates for the plugin's own Service, and for no other name."""

from typing import Any

import pytest

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.cert_manager import read_issuer
from cnpg_plugin_operator.decide.acceptance.acceptance import Grants, decide_acceptance
from cnpg_plugin_operator.decide.acceptance.issuer_grants import (
    IssuerInput,
    judge_issuer,
    write_reference,
)
from cnpg_plugin_operator.decide.facts.cert_manager import IssuerFacts
from tests.support.unit.builders import plugin
from tests.support.unit.fake_cluster import FakeCluster
from tests.unit.decide.acceptance.test_acceptance import given

COMPANY = {"name": "company-ca", "kind": "ClusterIssuer"}
WRITTEN = "ClusterIssuer.cert-manager.io/company-ca"
FOREIGN = "www.example.com"


def judge(
    tls: dict[str, Any],
    *granted: str,
    issuer: IssuerFacts | None = None,
    announced: str | None = None,
    **spec: Any,
) -> str:
    """The message of a refusal, or nothing."""
    subject = plugin("hello", tls=tls, **spec)
    verdict = judge_issuer(
        IssuerInput(subject, issuer, frozenset(granted), announced, "cluster.example")
    )
    assert verdict is None or verdict.reason is Reason.INVALID_SPEC
    return verdict.message if verdict else ""


def facts(*, own: bool = False, exists: bool = True) -> IssuerFacts:
    return IssuerFacts("Issuer x", exists=exists, ready=True, message="", own=own)


BEYOND: list[Any] = [
    pytest.param({"dnsNames": [FOREIGN]}, "spec.tls.dnsNames: www.example.com", id="a DNS name"),
    pytest.param({"dnsNames": ["hello", FOREIGN]}, FOREIGN, id="one beside its own"),
    pytest.param({"dnsNames": ["*.cnpg-system.svc"]}, r"*.cnpg-system.svc", id="a wildcard"),
    pytest.param({"dnsNames": ["other.cnpg-system.svc"]}, "other.", id="another Service"),
    pytest.param({"dnsNames": ["hello.other.svc"]}, "hello.other", id="another namespace"),
    pytest.param({"serverName": FOREIGN}, "spec.tls.serverName: www", id="a server name"),
]


@pytest.mark.parametrize(("tls", "words"), BEYOND)
def test_a_name_beyond_the_services_own_needs_a_granted_issuer(
    tls: dict[str, Any], words: str
) -> None:
    asked = {"issuerRef": COMPANY, **tls}
    refused = judge(asked)

    assert words in refused
    assert "not a name of Service hello" in refused
    assert "ClusterIssuer company-ca" in refused
    assert "chart value allowedIssuers" in refused
    assert judge(asked, WRITTEN) == ""
    assert judge(asked, "*") == ""
    assert judge(asked, "Issuer.cert-manager.io/company-ca") == refused
    assert judge(asked, "ClusterIssuer.other.example/company-ca") == refused
    assert judge(tls) == "", "the operator's own chain signs any name"
    assert judge({"provider": "SelfManaged", **tls}) == ""


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param({}, id="none"),
        pytest.param({"dnsNames": ["hello", "hello.cnpg-system"]}, id="short ones"),
        pytest.param(
            {"dnsNames": ["hello.cnpg-system.svc", "hello.cnpg-system.svc.cluster.example"]},
            id="long ones",
        ),
        pytest.param({"serverName": "hello.cnpg-system.svc"}, id="as the server name"),
    ],
)
def test_any_issuer_may_sign_the_names_of_the_plugins_service(tls: dict[str, Any]) -> None:
    assert judge({"issuerRef": COMPANY, **tls}) == ""


def test_the_service_is_the_one_that_the_spec_names() -> None:
    asked = {"issuerRef": COMPANY, "dnsNames": ["other.cnpg-system.svc"]}
    assert judge(asked, service={"name": "other"}) == ""


def test_a_previously_announced_name_reaches_no_ungranted_issuer() -> None:
    """It stays in the certificate until another one is announced."""
    asked = {"issuerRef": COMPANY}
    refused = judge(asked, announced=FOREIGN)
    assert "CloudNativePG still verifies the previous serverName: www.example.com" in refused
    assert judge(asked, announced="hello") == ""
    assert judge(asked, WRITTEN, announced=FOREIGN) == ""
    assert judge({}, announced=FOREIGN) == ""


OWN: list[Any] = [
    pytest.param(names.children.CHAIN_SELF_SIGNED, None, id="the self-signed"),
    pytest.param(names.children.CHAIN_ROOT, None, id="the root"),
    pytest.param(names.children.CHAIN_INTERMEDIATE, facts(own=True), id="the intermediate"),
    pytest.param("other-plugin-ca", facts(own=True), id="another plugin's"),
    pytest.param("hello-plugin-ca", facts(exists=False), id="one that may come to exist"),
    pytest.param("renamed", facts(own=True), id="by its label"),
]


@pytest.mark.parametrize(("name", "issuer"), OWN)
@pytest.mark.parametrize("granted", [(), ("*",)])
def test_no_resource_may_name_the_operators_own_issuers(
    name: str, issuer: IssuerFacts | None, granted: tuple[str, ...]
) -> None:
    refused = judge({"issuerRef": {"name": name}}, *granted, issuer=issuer)
    assert f"Issuer {name} is the operator's own" in refused


def test_a_foreign_issuer_may_have_the_name_of_an_authority() -> None:
    assert judge({"issuerRef": {"name": "acme-plugin-ca"}}, issuer=facts()) == ""
    external = {"name": "cnpg-plugins", "kind": "PCAIssuer", "group": "pca.example.com"}
    assert judge({"issuerRef": external}) == ""


OPERATORS: list[Any] = [
    pytest.param({"labels": {names.labels.MANAGED_BY: names.resource.OPERATOR}}, True, id="label"),
    pytest.param(
        {"ownerReferences": [
            {"apiVersion": names.resource.API_VERSION, "kind": names.resource.KIND}
        ]}, True,
        id="owner",
    ),
    pytest.param({"labels": {names.labels.MANAGED_BY: "Helm"}}, False, id="another's"),
]  # fmt: skip


@pytest.mark.parametrize(("metadata", "own"), OPERATORS)
async def test_an_issuer_of_the_operator_is_recognized_by_its_metadata(
    metadata: dict[str, Any],
    own: bool,  # noqa: FBT001 - a column of the table
) -> None:
    client = FakeCluster()
    body = {"metadata": {"name": "x", "namespace": "cnpg-system", **metadata}}
    client.put(kinds.ISSUER, body)
    found = await read_issuer(client, plugin(tls={"issuerRef": {"name": "x"}}))
    assert found is not None
    assert found.own is own


CSI = {"name": "v", "csi": {"driver": "csi.cert-manager.io", "volumeAttributes": {}}}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"volumes": [CSI]}, id="a volume"),
        pytest.param({"podTemplate": {"spec": {"volumes": [CSI]}}}, id="by template"),
        pytest.param({"mode": "Sidecar", "volumes": [CSI]}, id="of a sidecar"),
    ],
)
def test_cert_managers_csi_driver_is_refused(spec: dict[str, Any]) -> None:
    assert "CSI driver csi.cert-manager.io" in judge({}, **spec)
    assert judge({}, "*", **spec) == ""


def test_acceptance_checks_the_grant() -> None:
    subject = plugin(tls={"issuerRef": COMPANY, "dnsNames": [FOREIGN]})
    reference = write_reference("ClusterIssuer", "cert-manager.io", "company-ca")
    granted = Grants(issuers=frozenset({reference}))

    assert decide_acceptance(given(subject)).reason is Reason.INVALID_SPEC
    assert decide_acceptance(given(subject, grants=granted)).is_true
