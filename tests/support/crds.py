"""Waits until the API server serves resource types."""

import json
from typing import Any, Protocol

from tests.support import wait


class Kubectl(Protocol):
    """The part of a cluster that runs kubectl."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl; return its output, or raise ClusterError with its message."""


def until_established(cluster: Kubectl, *which: str) -> None:
    """Wait for CustomResourceDefinitions, named as kubectl does: `crd/NAME`, or `-f` and a file.

    `kubectl wait` (1.34) fails where the API server has not written any condition yet.
    """

    def is_established() -> bool:
        found = json.loads(cluster.kubectl("get", *which, "--output=json"))
        return all(map(_is_established, found.get("items", [found])))

    wait.until(f"{' '.join(which)}: established", is_established, within=100)


def _is_established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
