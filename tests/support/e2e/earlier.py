"""Earlier states of this project, as they were installed: image and chart of a commit."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import Cluster
from tests.cluster.dockerfiles import build_image
from tests.cluster.images import PYTHON_IMAGE
from tests.support.e2e.installation import (
    OPERATOR_NAMESPACE,
    RELEASE,
    ROOT,
    VALUES,
    load_once,
    stop_operator,
)

REPOSITORY: Final = "localhost/cnpg-plugin-operator"


@dataclass(frozen=True)
class Earlier:
    """A commit, checked out into a directory of its own."""

    commit: str
    directory: Path

    @classmethod
    def check_out(cls, commit: str, directory: Path) -> "Earlier":
        """Check a commit out; the history has to contain it."""
        archive = ["git", "-C", str(ROOT), "archive", commit]
        content = subprocess.run(archive, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", directory], input=content, check=True)
        return cls(commit, directory)

    @property
    def tag(self) -> str:
        """The tag of its image."""
        return self.commit[:12]

    def provide(self, cluster: Cluster) -> None:
        """Build its image with its own Dockerfile, and load it on the node."""
        image = f"{REPOSITORY}:{self.tag}"
        build_image(self.directory, image, {"BASE": PYTHON_IMAGE})
        load_once(cluster, image, self.tag)

    def install(self, cluster: Cluster) -> None:
        """Install its chart, or upgrade the one that is installed to it."""
        values = {**VALUES, "image": {**VALUES["image"], "tag": self.tag}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            cluster.helm(
                *("upgrade", "--install", RELEASE, "--namespace", OPERATOR_NAMESPACE),
                str(self.directory / "charts" / "cnpg-plugin-operator"),
                *("--create-namespace", "--values", file.name, "--wait", "--timeout", "300s"),
            )


def remove_release(cluster: Cluster, crd: str) -> None:
    """Remove the operator and its resource type, so that another one can be installed."""
    stop_operator(cluster)
    release = (RELEASE, "--namespace", OPERATOR_NAMESPACE)
    cluster.helm("uninstall", *release, "--ignore-not-found", "--wait", "--timeout", "300s")
    cluster.kubectl("delete", "crd", crd, "--ignore-not-found", "--timeout=300s")
