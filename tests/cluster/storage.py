"""Volumes for databases: directories of the node, one PersistentVolume for each.

A claim binds any free volume of the class. Kubernetes never binds a used volume to a second claim,
so a test that creates a Cluster adds a volume for each instance.
"""

import json
import re
import shutil

from tests.cluster.addons import Kubectl
from tests.cluster.errors import ClusterError
from tests.cluster.paths import Layout

STORAGE_CLASS = "node-directory"


def add_volume(layout: Layout, kubectl: Kubectl, name: str, size: str) -> None:
    """Create an empty volume; an existing one of the same name is deleted first, with its data."""
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ClusterError(f"volume name {name!r}: lower-case letters, digits and dashes only")
    kubectl("delete", "persistentvolume", name, "--ignore-not-found", "--timeout=30s")
    directory = layout.state / "volumes" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o777)  # for any user id of the database
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(directory), "type": "Directory"},
        },
    }
    kubectl("apply", "--server-side", "-f", "-", input=json.dumps(volume))
