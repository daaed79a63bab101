"""Builds the operator's image from this checkout and installs the chart with it."""

import json
import subprocess
from pathlib import Path

from tests.cluster import Cluster, ClusterError, dockerfiles
from tests.cluster.progress import heartbeat, say, wait_until
from tests.demo.watching import Kubectl

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "cnpg-plugin-operator"
RELEASE = "cnpg-plugin-operator"
NAMESPACE = "cnpg-plugin-operator"
"""The operator's; plugins are in CloudNativePG's namespace."""
REGISTRY, REPOSITORY, TAG = "localhost", "cnpg-plugin-operator", "dev"
IMAGE = f"{REGISTRY}/{REPOSITORY}:{TAG}"
BASE_IMAGE = "localhost/python:3.13"
IMAGE_ANNOTATION = "cnpgplugin.dev/image"
"""On the operator's pod. The tag stays the same, so this annotation rolls out a new build."""

CNPG_NAMESPACE = "cnpg-system"

FIRST_LEASE = 15
"""The chart's `leaderElection.leaseDuration` in seconds."""
LEADING_SECONDS = 60.0


def install_operator(cluster: Cluster, *values_files: Path) -> None:
    """Build, load and install the operator, or upgrade an older installation."""
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
    values += [part for file in values_files for part in ("--values", str(file))]
    with heartbeat("installing the chart"):
        cluster.helm(
            *("upgrade", "--install", RELEASE, str(CHART)),
            *("--namespace", NAMESPACE, "--create-namespace", *values),
            *("--wait", "--timeout", "3m"),
        )


def await_leader(cluster: Kubectl) -> None:
    """Wait until the operator leads: before that it reports nothing about any plugin."""
    if not _leads(cluster):
        reason = "to be sure that no other one still writes"
        say(f"waiting until the operator leads ({FIRST_LEASE} s at its first start, {reason})")
        wait_until("the operator to lead", lambda: _leads(cluster), timeout=LEADING_SECONDS)


def _leads(cluster: Kubectl) -> bool:
    """Whether a running pod of the operator holds the Lease, not only claims it."""
    where = ("--namespace", NAMESPACE, "--ignore-not-found", "--output=json")
    lease = json.loads(cluster.kubectl("get", "lease", RELEASE, *where) or "{}").get("spec", {})
    holder = str(lease.get("holderIdentity") or "").partition("_")[0]
    return bool(lease.get("acquireTime")) and holder in _pods(cluster)


def operator_pod(cluster: Cluster) -> str:
    """Find the name of the operator's pod."""
    names = _pods(cluster)
    if len(names) != 1:
        raise ClusterError(f"expected one pod of the operator, found {len(names)}")
    return names[0]


def _pods(cluster: Kubectl) -> list[str]:
    where = ("--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}")
    running = ("--field-selector=status.phase=Running", "--output=name")
    found = cluster.kubectl("get", "pods", *where, *running).split()
    return [name.removeprefix("pod/") for name in found]


def _built_image() -> str:
    listing = ["buildah", "images", "--no-trunc", "--format", "{{.ID}}", IMAGE]
    done = subprocess.run(listing, capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("sha256:")[:12]


def _installed_image(cluster: Cluster) -> str:
    """The build that the operator's Deployment runs; empty if there is no Deployment."""
    path = IMAGE_ANNOTATION.replace(".", r"\.")
    return cluster.kubectl(
        *("get", "deployment", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found"),
        f"--output=jsonpath={{.spec.template.metadata.annotations.{path}}}",
    ).strip()
