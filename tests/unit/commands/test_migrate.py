"""`migrate` reads what is behind a Service and prints the resource that takes it over."""

from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.commands.migrate import read_migration
from tests.support.unit.fake_cluster import FakeCluster
from tests.support.unit.stage.world import NAMESPACE

ROOT = Path(__file__).resolve().parents[3]
KINDS = {
    kind.kind: kind for kind in (kinds.ISSUER, kinds.CERTIFICATE, kinds.SERVICE, kinds.DEPLOYMENT)
}


@pytest.fixture
def client() -> FakeCluster:
    """The plugin that the tests deploy by hand."""
    made = FakeCluster()
    for body in yaml.safe_load_all((ROOT / "tests/plugins/static/hello.yaml").read_text()):
        made.put(KINDS[body["kind"]], body)
    return made


def arguments(service: str = "hello", name: str = "") -> Namespace:
    return Namespace(from_service=service, name=name)


async def test_an_installation_is_described_without_a_write(client: FakeCluster) -> None:
    found = await read_migration(client, NAMESPACE, arguments())

    assert found.resource["metadata"]["name"] == "hello-plugin", "Deployment hello exists"
    assert found.resource["spec"]["takeOver"] == {"serviceName": "hello"}
    assert len(found.remarks) == 2
    assert client.writes == []


async def test_the_name_can_be_chosen(client: FakeCluster) -> None:
    found = await read_migration(client, NAMESPACE, arguments(name="mine"))
    assert found.resource["metadata"]["name"] == "mine"


async def test_without_cert_manager_there_are_no_issuers_to_name(client: FakeCluster) -> None:
    client.missing = {"Certificate", "Issuer"}
    assert (await read_migration(client, NAMESPACE, arguments())).remarks == []


async def test_a_second_deployment_is_named(client: FakeCluster) -> None:
    second = {**client.the(kinds.DEPLOYMENT, "hello")}
    second["metadata"] = {**second["metadata"], "name": "second", "uid": "second"}
    client.put(kinds.DEPLOYMENT, second)
    found = await read_migration(client, NAMESPACE, arguments())
    assert any("Deployment second runs behind the Service, too" in each for each in found.remarks)


async def test_what_cannot_be_described_is_an_error(client: FakeCluster) -> None:
    with pytest.raises(errors.SettingsError, match="no Service cnpg-system/other"):
        await read_migration(client, NAMESPACE, arguments("other"))
    del client.objects["Deployment", NAMESPACE, "hello"]
    with pytest.raises(errors.SettingsError, match="no Deployment runs behind Service"):
        await read_migration(client, NAMESPACE, arguments())
    del client.the(kinds.SERVICE, "hello")["metadata"]["labels"]["cnpg.io/pluginName"]
    with pytest.raises(errors.SettingsError, match="lacks the label"):
        await read_migration(client, NAMESPACE, arguments())
