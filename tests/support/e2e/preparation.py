"""Starts a cluster, and builds the operator's image, in a process of its own beside unit tests."""

import subprocess
import sys

from tests.cluster import Cluster
from tests.support.e2e import whole_run
from tests.support.e2e.installation import ROOT, image_key, provide_image


def begin(cluster: str, worker: str) -> subprocess.Popen[bytes]:
    """Begin to prepare. What fails is tried again, and reported, where it is used."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, cluster, worker],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(cluster: str, worker: str) -> None:
    """Start the cluster; build the image unless another process does."""
    Cluster(cluster).up()
    whole_run.record_prepared(worker)
    provide_image(image_key())


if __name__ == "__main__":
    main(*sys.argv[1:])
