"""The bundle for OLM says the same as the chart."""

import base64
import tarfile
from typing import Any, Final

import pytest
import yaml

from config.olm.bundle import NAMESPACE
from config.release.checkout import ROOT, Release
from config.release.packages import write_olm_bundle
from tests.support.chart.rendering import CRD, REPOSITORY, of_kind, one, render

VERSION: Final = "1.0"
CSV: Final = "manifests/cnpg-plugin-operator.clusterserviceversion.yaml"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of the bundle by their path."""
    output = tmp_path_factory.mktemp("bundle")
    write_olm_bundle(Release(VERSION, REPOSITORY, 1, ROOT, output))
    [archive] = output.iterdir()
    with tarfile.open(archive) as bundle:
        bundle.extractall(output, filter="data")
    return {
        str(path.relative_to(output)): path.read_text()
        for path in output.rglob("*")
        if path.is_file() and path != archive
    }


@pytest.fixture(scope="module")
def csv(files: dict[str, str]) -> dict[str, Any]:
    """The ClusterServiceVersion."""
    return dict(yaml.safe_load(files[CSV]))


def rules(csv: dict[str, Any], kind: str) -> list[Any]:
    """The rights that the bundle gives to the operator's only account."""
    [only] = csv["spec"]["install"]["spec"][kind]
    assert only["serviceAccountName"] == "cnpg-plugin-operator"
    return list(only["rules"])


def test_it_gives_the_rights_of_the_chart(csv: dict[str, Any]) -> None:
    objects = render({"cnpg": {"olm": True}}, release="cnpg-plugin-operator")
    roles = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    named = one(objects, "ClusterRoleBinding")["roleRef"]["name"]
    assert rules(csv, "permissions") == roles
    assert rules(csv, "clusterPermissions") == one(objects, "ClusterRole", named)["rules"]


def test_it_runs_the_pod_of_the_chart(csv: dict[str, Any]) -> None:
    [deployment] = csv["spec"]["install"]["spec"]["deployments"]
    charts = one(render(release="cnpg-plugin-operator"), "Deployment")["spec"]
    [own], [other] = (
        spec["template"]["spec"]["containers"] for spec in (deployment["spec"], charts)
    )
    assert {**own, "env": None} == {**other, "env": None}
    names = [variable["name"] for variable in other["env"]]
    assert [variable["name"] for variable in own["env"]] == ["POD_NAMESPACE", *names]


def test_namespaces_are_those_that_olm_chooses(files: dict[str, str], csv: dict[str, Any]) -> None:
    assert not [path for path, text in files.items() if NAMESPACE in text]
    [deployment] = csv["spec"]["install"]["spec"]["deployments"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable for variable in container["env"]}
    path = environment["CNPGP_NAMESPACES"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['olm.targetNamespaces']"
    assert environment["CNPGP_LEASE"]["value"] == "$(POD_NAMESPACE)/cnpg-plugin-operator"
    assert "runAsUser" not in deployment["spec"]["template"]["spec"]["securityContext"]


def test_it_contains_the_resource_type_its_samples_and_an_icon(
    files: dict[str, str], csv: dict[str, Any]
) -> None:
    crd = yaml.safe_load(
        files["manifests/cnpgplugins.cnpgplugin.dev.customresourcedefinition.yaml"]
    )
    expected = yaml.safe_load(CRD.read_text())["spec"]
    # The chart leaves it out for the oldest Kubernetes that it supports, and so does the bundle.
    del expected["versions"][0]["selectableFields"]
    assert crd["spec"] == expected
    examples = yaml.safe_load(csv["metadata"]["annotations"]["alm-examples"])
    assert "everything" in {example["metadata"]["name"] for example in examples}
    [icon] = csv["spec"]["icon"]
    assert base64.b64decode(icon["base64data"]).startswith(b"<svg ")
