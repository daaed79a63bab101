"""Moves the wall clock of one operator's pod, as a broken time service does.

libfaketime stands between the program and the C library. Its monotonic clock stays right: no time
service moves that.
"""

import base64
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.cluster import Cluster
from tests.cluster.paths import cache_directory
from tests.support.e2e.api import CORE, Api
from tests.support.e2e.installation import OPERATOR_NAMESPACE

_PACKAGE: Final = "libfaketime==3.0.1"
_LIBRARY: Final = "libfaketime.so.1"
_NAME: Final = "moved-clock"
_VOLUME: Final = "clock"
_OFFSET: Final = "offset"


def _library() -> Path:
    """Provide the library, which is compiled once."""
    directory = cache_directory() / _PACKAGE.replace("==", "-")
    found = directory / _LIBRARY
    if not found.exists():
        with tempfile.TemporaryDirectory() as work:
            pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
            subprocess.run([*pip, "--target", work, _PACKAGE], check=True)
            [built] = Path(work).rglob(_LIBRARY)
            directory.mkdir(parents=True, exist_ok=True)
            partial = directory / "partial"
            partial.write_bytes(built.read_bytes())
            partial.replace(found)
    return found


def create_library(api: Api) -> None:
    """Put the library where the operator's pods mount it."""
    metadata = {"name": _NAME, "namespace": OPERATOR_NAMESPACE}
    encoded = base64.b64encode(_library().read_bytes()).decode()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    path = f"{CORE}/namespaces/{OPERATOR_NAMESPACE}/configmaps/{_NAME}"
    api.apply(path, {**body, "binaryData": {_LIBRARY: encoded}}, "e2e", force=True)


def values() -> dict[str, Any]:
    """The chart's values with which the clock of each of its pods can be moved."""
    variables = {
        "LD_PRELOAD": f"/moved-clock/{_LIBRARY}",
        "FAKETIME_TIMESTAMP_FILE": f"/clock/{_OFFSET}",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return {
        "extraEnv": [{"name": name, "value": value} for name, value in variables.items()],
        "extraVolumes": [
            {"name": _NAME, "configMap": {"name": _NAME}},
            {"name": _VOLUME, "emptyDir": {}},
        ],
        "extraVolumeMounts": [
            {"name": _NAME, "mountPath": "/moved-clock"},
            {"name": _VOLUME, "mountPath": "/clock"},
        ],
    }


def move(cluster: Cluster, pod_uid: str, seconds: int) -> None:
    """Let a pod's clock be so far ahead, within a second."""
    volumes = cluster.layout.state / "kubelet" / "pods" / pod_uid / "volumes"
    file = volumes / "kubernetes.io~empty-dir" / _VOLUME / _OFFSET
    file.write_text(f"{seconds:+d}\n")
    file.chmod(0o644)
