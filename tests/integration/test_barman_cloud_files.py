"""config/plugins/barman-cloud grants and defines what the plugin's own manifest does."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import builds
from tests.support.e2e.installation import BARMAN_CLOUD

Object = dict[str, Any]
NEEDED_ONLY_FOR_METRICS = "barman-plugin-metrics-auth-role"
GRANTED = {
    "ClusterRole": "plugin-barman-cloud",
    "Role": "barman-plugin-leader-election-role",
}
"""The roles that the manifest binds to the plugin's account, apart from the one for metrics."""


@pytest.fixture(scope="module")
def manifest() -> list[Object]:
    builds.build([builds.BARMAN_CLOUD])
    return read(builds.BARMAN_CLOUD.asset("manifest.yaml"))


def read(file: Path) -> list[Object]:
    return list(yaml.safe_load_all(file.read_text()))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def in_order(rules: list[Object]) -> list[Object]:
    return sorted(
        ({key: sorted(values) for key, values in rule.items()} for rule in rules), key=str
    )


def test_the_crd_is_that_of_the_release(manifest: list[Object]) -> None:
    assert read(BARMAN_CLOUD / "crd.yaml") == of_kind(manifest, "CustomResourceDefinition")


def test_the_roles_grant_what_the_manifest_grants(manifest: list[Object]) -> None:
    bindings = of_kind(manifest, "RoleBinding", "ClusterRoleBinding")
    bound = {each["roleRef"]["name"] for each in bindings}
    assert bound == {*GRANTED.values(), NEEDED_ONLY_FOR_METRICS}
    theirs = {each["metadata"]["name"]: each["rules"] for each in of_kind(manifest, *GRANTED)}
    for role in read(BARMAN_CLOUD / "roles.yaml"):
        assert in_order(role["rules"]) == in_order(theirs[GRANTED[role["kind"]]])


def test_the_plugin_starts_with_the_arguments_of_the_manifest(manifest: list[Object]) -> None:
    """Without those for its server, which the operator appends."""
    deployment = of_kind(manifest, "Deployment")[0]["spec"]
    [container] = deployment["template"]["spec"]["containers"]
    own = {each for each in container["args"] if not each.startswith(("--server-", "--client-"))}
    spec = read(BARMAN_CLOUD / "plugin.yaml")[0]["spec"]
    assert {*spec["args"], "--log-level=debug"} == own | {"--log-level=info"}
    assert spec["strategy"] == deployment["strategy"]
    assert [each["name"] for each in spec["env"]] == [each["name"] for each in container["env"]]
