"""Builds the operator's image from this checkout and installs the chart with it."""

import subprocess
from pathlib import Path

from tests.cluster import Cluster, ClusterError, dockerfiles
from tests.cluster.progress import heartbeat

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "cnpg-plugin-operator"
RELEASE = "cnpg-plugin-operator"
NAMESPACE = "cnpg-plugin-operator"
"""Of the operator; plugins live where CloudNativePG does."""
REGISTRY, REPOSITORY, TAG = "localhost", "cnpg-plugin-operator", "dev"
IMAGE = f"{REGISTRY}/{REPOSITORY}:{TAG}"
BASE_IMAGE = "localhost/python:3.13"
IMAGE_ANNOTATION = "cnpgplugin.dev/image"
"""On the operator's pod: the tag stays the same, this is what makes a new build roll out."""

CNPG_NAMESPACE = "cnpg-system"


def install_operator(cluster: Cluster) -> None:
    """Build, load and install; over an older installation, replace it."""
    dockerfiles.build_image(ROOT, IMAGE, {"BASE": BASE_IMAGE})
    built = _built_image()
    if built != _installed_image(cluster):
        with heartbeat(f"loading {IMAGE}"):
            cluster.load_image(IMAGE)
    settings = {
        "image.registry": REGISTRY,
        "image.repository": REPOSITORY,
        "image.tag": TAG,
        f"podAnnotations.{IMAGE_ANNOTATION.replace('.', chr(92) + '.')}": built,
    }
    values = [part for item in settings.items() for part in ("--set-string", "=".join(item))]
    with heartbeat("installing the chart"):
        cluster.helm(
            *("upgrade", "--install", RELEASE, str(CHART)),
            *("--namespace", NAMESPACE, "--create-namespace", *values),
            *("--wait", "--timeout", "3m"),
        )


def operator_pod(cluster: Cluster) -> str:
    """The name of the operator's pod."""
    where = ["--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}"]
    names = cluster.kubectl(
        "get", "pods", *where, "--field-selector=status.phase=Running", "--output=name"
    ).split()
    if len(names) != 1:
        raise ClusterError(f"one pod of the operator is expected, not {len(names)}")
    return names[0].removeprefix("pod/")


def _built_image() -> str:
    listing = ["buildah", "images", "--no-trunc", "--format", "{{.ID}}", IMAGE]
    done = subprocess.run(listing, capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("sha256:")[:12]


def _installed_image(cluster: Cluster) -> str:
    """What the operator's Deployment runs; empty where there is none."""
    path = IMAGE_ANNOTATION.replace(".", r"\.")
    return cluster.kubectl(
        *("get", "deployment", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found"),
        f"--output=jsonpath={{.spec.template.metadata.annotations.{path}}}",
    ).strip()
