"""Builds the operator's image from this checkout and installs the chart with it."""

import os
import subprocess
from pathlib import Path

from tests.cluster import Cluster
from tests.cluster.progress import heartbeat

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "cnpg-plugin-operator"
RELEASE = "cnpg-plugin-operator"
NAMESPACE = "cnpg-plugin-operator"
"""Of the operator; plugins live where CloudNativePG does."""
REGISTRY, REPOSITORY, TAG = "localhost", "cnpg-plugin-operator", "dev"
IMAGE = f"{REGISTRY}/{REPOSITORY}:{TAG}"
BASE_IMAGE = "localhost/python:3.13"

CNPG_NAMESPACE = "cnpg-system"

IMAGE_VARIABLE = "CNPGP_OPERATOR_IMAGE"
"""Names an image that was built before, instead of building one from this checkout."""


def install_operator(cluster: Cluster) -> None:
    """Build, load and install; over an older installation, replace it."""
    if not os.environ.get(IMAGE_VARIABLE):
        cluster.build_image(ROOT, IMAGE, {"BASE": BASE_IMAGE})
    else:
        cluster.load_image(os.environ[IMAGE_VARIABLE])
    registry, repository, tag = _parts(os.environ.get(IMAGE_VARIABLE) or IMAGE)
    settings = {
        "image.registry": registry,
        "image.repository": repository,
        "image.tag": tag,
        # The tag stays the same; this is what makes a new build roll out.
        r"podAnnotations.cnpgplugin\.dev/image": _image_id(f"{registry}/{repository}:{tag}"),
    }
    values = [
        part for key, value in settings.items() for part in ("--set-string", f"{key}={value}")
    ]
    with heartbeat("installing the chart"):
        cluster.helm(
            *("upgrade", "--install", RELEASE, str(CHART)),
            *("--namespace", NAMESPACE, "--create-namespace", *values),
            *("--wait", "--timeout", "3m"),
        )


def _parts(image: str) -> tuple[str, str, str]:
    registry, _, rest = image.partition("/")
    repository, _, tag = rest.rpartition(":")
    return registry, repository, tag


def _image_id(image: str) -> str:
    listing = ["buildah", "images", "--no-trunc", "--format", "{{.ID}}", image]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("sha256:")[:12] or "unknown"
