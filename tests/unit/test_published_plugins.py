"""config/plugins: each resource is accepted with the roles that its values allow, and becomes the
container of the plugin's own manifest.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cnpg_plugin_operator.api.conditions import Status
from cnpg_plugin_operator.api.plugin import Plugin, parse_plugin
from cnpg_plugin_operator.decide.acceptance.acceptance import (
    AcceptanceInput,
    Grants,
    decide_acceptance,
)
from cnpg_plugin_operator.desired.workload import build_deployment
from tests.support.unit.builders import cnpg

PLUGINS = Path(__file__).resolve().parents[2] / "config" / "plugins"
EVERY = pytest.mark.parametrize(
    "directory", [each for each in sorted(PLUGINS.iterdir()) if each.is_dir()], ids=lambda d: d.name
)
FILES = ["--server-cert=/server/tls.crt", "--server-key=/server/tls.key"]
STANDARD = [*FILES, "--client-cert=/client/tls.crt", "--server-address=:9090"]
"""The arguments of most plugins: those of cnpg-i-machinery."""

ARGUMENTS: dict[str, list[str]] = {
    "barman-cloud": ["operator", "--leader-elect", "--log-level=info", *STANDARD],
}
"""What each plugin's own manifest passes, in our order."""


def read(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def subject(directory: Path) -> Plugin:
    [body] = read(directory / "plugin.yaml")
    body["metadata"] |= {"namespace": "cnpg-system", "uid": "uid", "generation": 1}
    body["metadata"]["creationTimestamp"] = "2026-03-01T11:00:00Z"
    return parse_plugin(body)


def values(directory: Path) -> dict[str, list[str]]:
    file = directory / "values.yaml"
    return read(file)[0] if file.exists() else {}


def container(directory: Path) -> dict[str, Any]:
    template = build_deployment(subject(directory), "certificates")["spec"]["template"]
    found: dict[str, Any] = template["spec"]["containers"][0]
    return found


def test_every_plugin_is_in_the_table() -> None:
    assert {each.name for each in PLUGINS.iterdir() if each.is_dir()} == ARGUMENTS.keys()


@EVERY
def test_the_resource_is_accepted_with_the_roles_of_its_values(directory: Path) -> None:
    granted = values(directory)
    facts = AcceptanceInput(
        plugin=subject(directory),
        managed_namespaces=("cnpg-system",),
        cnpg=(cnpg(),),
        cnpg_elsewhere=(),
        foreign=(),
        rivals=(),
        grants=Grants(
            roles=frozenset(granted.get("allowedRoles", [])),
            cluster_roles=frozenset(granted.get("allowedClusterRoles", [])),
        ),
    )
    verdict = decide_acceptance(facts)
    assert verdict.status is Status.TRUE, verdict.message


@EVERY
def test_the_values_allow_exactly_the_roles_that_exist_and_that_the_resource_names(
    directory: Path,
) -> None:
    spec = read(directory / "plugin.yaml")[0]["spec"]
    file = directory / "roles.yaml"
    made = read(file) if file.exists() else []
    for kind, field, value in (
        ("Role", "roles", "allowedRoles"),
        ("ClusterRole", "clusterRoles", "allowedClusterRoles"),
    ):
        exist = [each["metadata"]["name"] for each in made if each["kind"] == kind]
        assert exist == spec.get(field, []) == values(directory).get(value, [])


@EVERY
def test_the_container_starts_as_in_the_plugins_own_manifest(directory: Path) -> None:
    found = container(directory)
    assert [*found.get("command", []), *found["args"]] == ARGUMENTS[directory.name]
