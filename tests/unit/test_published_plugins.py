"""config/plugins: each resource is accepted with the roles that its values allow, and becomes the
container of the plugin's own manifest.
"""

import re
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
    "chronicle": ["operator", *STANDARD],
    "cnpg-backup": ["/usr/local/bin/cnpg-backup", "manager"],
    "connect": [
        "--plugin-address=:9090",
        "--discovery-address=:8080",
        "--health-address=:8081",
        "--server-cert=/tls/plugin/tls.crt",
        "--server-key=/tls/plugin/tls.key",
        "--client-ca=/tls/client/ca.crt",
        "--discovery-plaintext",
    ],
    "dalibo-pgbackrest": ["operator", "--log-level=debug", *STANDARD],
    "hello-world": ["plugin", *STANDARD],
    "klio": [
        "/manager",
        "--metrics-bind-address=:8443",
        "--leader-elect",
        "--health-probe-bind-address=:8081",
        "--plugin-server-cert=/pluginServer/tls.crt",
        "--plugin-server-key=/pluginServer/tls.key",
        "--plugin-client-cert=/pluginClient/tls.crt",
        "--plugin-server-address=:9090",
    ],
    "opera-pgbackrest": ["operator", "--leader-elect", "--log-level=debug", *STANDARD],
    "pg-doorman": [
        *("serve", "--leader-elect", "--debug=false", *FILES),
        *("--client-cert=/client/ca.crt", "--server-address=:9090"),
    ],
    "pgdump": ["plugin", *FILES, "--client-cert=/client/ca.crt", "--server-address=:50051"],
    "scale-to-zero": ["plugin", *STANDARD],
    "wal-g": [
        "operator",
        "--leader-elect",
        "--health-probe-bind-address=:8081",
        "--cnpg-i-bind-address=:9090",
        "--cnpg-i-cert-path=/tls/cnpgi-server",
        "--cnpg-i-client-cert-path=/tls/cnpgi-client",
        "--cnpg-i-pg-sidecar-image=$(SIDECAR_IMAGE)",
    ],
}
"""What each plugin's own manifest passes; the operator appends those of the server."""


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


@EVERY
def test_every_path_in_the_arguments_is_mounted_once(directory: Path) -> None:
    found = container(directory)
    mounts = [each["mountPath"] for each in found["volumeMounts"]]
    assert len(mounts) == len(set(mounts))
    paths = [word.partition("=")[2] for word in found["args"]]
    for path in filter(lambda each: each.startswith("/"), paths):
        assert {path, path.rpartition("/")[0]} & set(mounts), path


@EVERY
def test_the_example_uses_the_plugin(directory: Path) -> None:
    files = sorted((directory / "example").glob("cluster.yaml"))
    clusters = [each for file in files for each in read(file) if each["kind"] == "Cluster"]
    used = {one["name"] for each in clusters for one in each["spec"]["plugins"]}
    assert subject(directory).spec.plugin_name in used


@EVERY
def test_the_kustomization_names_every_file(directory: Path) -> None:
    [kustomization] = read(directory / "kustomization.yaml")
    others = {"kustomization.yaml", "values.yaml"}
    files = {each.name for each in directory.glob("*.yaml")} - others
    assert set(kustomization["resources"]) == files
    assert kustomization["namespace"] == "cnpg-system"


def test_the_table_of_plugins_leads_to_the_page_of_each() -> None:
    table = (PLUGINS / "README.md").read_text()
    linked = re.findall(r"^\| \[(\S+)\]\((\S+)/README\.md\) \|", table, re.MULTILINE)
    assert linked == [(name, name) for name in sorted(ARGUMENTS)]


@EVERY
def test_the_page_links_every_file_that_a_reader_needs(directory: Path) -> None:
    page = (directory / "README.md").read_text()
    linked = {name for name in re.findall(r"\]\((\S+)\)", page) if "/" not in name}
    assert linked == {each.name for each in directory.glob("*.yaml")} - {"kustomization.yaml"}
