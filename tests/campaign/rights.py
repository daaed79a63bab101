"""What the chart renders for a lane: the operator's rights, and its environment."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from tests.campaign.admin import Object
from tests.cluster import builds
from tests.support.e2e.installation import CHART, IMAGE, VALUES

RELEASE: Final = "campaign"

_RIGHTS: Final = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
_VALUES: Final = ("image", "restart", "sidecars")
_NOT_HERE: Final = ("CNPGP_LEASE", "CNPGP_HTTP")


def render(namespace: str) -> tuple[list[Object], dict[str, str]]:
    """Give the objects with rights, and the environment."""
    values = {
        **{key: VALUES[key] for key in _VALUES},
        "cnpg": {"namespaces": [namespace]},
        "fullnameOverride": f"{namespace}-operator",
        "crds": {"create": False},
        "rbac": {"aggregateClusterRoles": False},
        "leaderElection": {"enabled": False},
    }
    done = subprocess.run(
        [
            *(builds.find(builds.HELM), "template", RELEASE, str(CHART)),
            *("--namespace", namespace, "--kube-version", "1.34.0", "--values", "-"),
        ],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
    )
    rendered = [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]
    [deployment] = (each for each in rendered if each["kind"] == "Deployment")
    rights = [each for each in rendered if each["kind"] in _RIGHTS]
    return rights, dict(_environment(deployment))


def _environment(deployment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    for each in container["env"]:
        if "value" in each and not each["name"].startswith(_NOT_HERE):
            yield each["name"], each["value"]
    yield "CNPGP_SIDECAR_GATE_IMAGE", IMAGE
