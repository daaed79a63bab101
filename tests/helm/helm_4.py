"""Helm 4 as a user calls it, in the cluster's network."""

import os
import subprocess

from tests.cluster import Cluster, builds


def run(cluster: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Helm 4; the caller judges how it ended."""
    argv = [builds.find(builds.HELM_4), f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(
        cluster.in_namespace(argv),
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={**os.environ, "KUBECACHEDIR": str(cluster.layout.discovery)},
    )
