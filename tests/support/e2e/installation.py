"""The operator as users install it: image from the Dockerfile, chart by Helm, in the test cluster.

The image's archive is kept in the cache under the digest of its sources, and the cluster records
which one was loaded: an unchanged tree is neither built nor loaded again.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import Cluster
from tests.cluster.dockerfiles import build_image
from tests.cluster.errors import ClusterError
from tests.cluster.images import PYTHON, PYTHON_IMAGE
from tests.cluster.paths import cache_directory
from tests.support.crds import until_established

ROOT: Final = Path(__file__).resolve().parents[3]
CHART: Final = ROOT / "charts" / "cnpg-plugin-operator"
CRD: Final = ROOT / "crds" / "cnpgplugin.dev_cnpgplugins.yaml"

RELEASE: Final = "cnpg-plugin-operator"
OPERATOR_NAMESPACE: Final = "cnpg-plugin-operator"
IMAGE: Final = "localhost/cnpg-plugin-operator:test"

BARMAN_CLOUD: Final = ROOT / "config" / "plugins" / "barman-cloud"
_PUBLISHED: Final = yaml.safe_load((BARMAN_CLOUD / "values.yaml").read_text())
"""The values that a user of the plugin needs."""

ALLOWED_ROLE: Final = "e2e-allowed"
ALLOWED_ACCOUNT: Final = "e2e-allowed"
ALLOWED_ISSUER: Final = "e2e-allowed"

VALUES: Final[Mapping[str, Any]] = {
    "image": {
        "registry": "localhost",
        "repository": "cnpg-plugin-operator",
        "tag": "test",
        "pullPolicy": "Never",
    },
    # The chart's own intervals are tested without a cluster. On a busy machine twenty plugins may
    # take longer than a minute.
    "restart": {"settle": "3s", "settleMax": "2m", "cooldown": "1s"},
    "sidecars": {"deadline": "15s"},
    "allowedRoles": [ALLOWED_ROLE, *_PUBLISHED["allowedRoles"]],
    "allowedClusterRoles": [ALLOWED_ROLE, *_PUBLISHED["allowedClusterRoles"]],
    "allowedServiceAccounts": [ALLOWED_ACCOUNT],
    "allowedIssuers": [{"name": ALLOWED_ISSUER, "kind": "ClusterIssuer"}],
}

ARCHIVE_SECONDS: Final = 6 * 3600
"""How long an archive of other sources is kept: a concurrent run may be about to load it."""

_INPUTS: Final = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "config/image/root_file_system.py",
    "hatch_build.py",
    "pyproject.toml",
    "requirements-build.lock",
    "requirements.lock",
)
"""What the Dockerfile copies, besides `operator/`; the same files that .dockerignore allows."""


def image_key() -> str:
    """Digest of all sources of the operator's image."""
    sources = [
        path
        for path in (ROOT / "operator").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "_pb2" not in path.name
    ]
    digest = hashlib.sha256(PYTHON.archive.name.encode())
    for path in sorted([*(ROOT / name for name in _INPUTS), *sources]):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return digest.hexdigest()[:16]


def provide_image(key: str) -> Path:
    """The operator's image as an archive; built if these sources were never built before.

    Concurrent runs share the image's tag, so only one of them builds at a time.
    """
    archive = cache_directory() / "images" / f"operator-{key}.tar"
    if archive.exists():  # It is complete, and needs no wait for another one that is being built.
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / "operator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _build_archive(archive)
    return archive


def _build_archive(archive: Path) -> None:
    build_image(ROOT, IMAGE, {"BASE": PYTHON_IMAGE})
    with tempfile.TemporaryDirectory(dir=archive.parent) as work:
        partial = Path(work) / "image.tar"
        # Not compressed: the archive is read back on the same machine.
        push = ["buildah", "push", "--quiet", IMAGE, f"docker-archive:{partial}:{IMAGE}"]
        done = subprocess.run(push, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"{IMAGE} cannot be exported:\n{done.stderr}")
        for other in archive.parent.glob("operator-*.tar"):
            if time.time() - other.stat().st_mtime > ARCHIVE_SECONDS:
                other.unlink(missing_ok=True)
        partial.replace(archive)


def load_once(cluster: Cluster, reference: str | Path, key: str) -> None:
    """Load an image on the node, unless the same one was loaded before."""
    name = hashlib.sha256(str(reference).encode()).hexdigest()[:8]
    stamp = cluster.layout.state / f"loaded-{name}"
    if not stamp.exists() or stamp.read_text() != key:
        cluster.load_image(reference)
        stamp.write_text(key)


def apply_crd(cluster: Cluster) -> None:
    """Install this tree's CRD, marked as the release's own so that Helm adopts it."""
    crd = yaml.safe_load(CRD.read_text())
    crd["metadata"] |= {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": RELEASE,
            "meta.helm.sh/release-namespace": OPERATOR_NAMESPACE,
        },
    }
    drop_other_versions(cluster)
    flags = ("--server-side", "--force-conflicts", "--field-manager=tests")
    cluster.kubectl("apply", *flags, "-f", "-", input=json.dumps(crd))
    until_established(cluster, f"crd/{crd['metadata']['name']}")


def drop_other_versions(cluster: Cluster) -> None:
    """Delete the CRD of another tree whose version of the resource this tree does not have."""
    crd = yaml.safe_load(CRD.read_text())
    ours = {version["name"] for version in crd["spec"]["versions"]}
    columns = ("--ignore-not-found", "--output=jsonpath={.status.storedVersions[*]}")
    stored = cluster.kubectl("get", "crd", crd["metadata"]["name"], *columns).split()
    if not ours.issuperset(stored):
        cluster.kubectl("delete", "crd", crd["metadata"]["name"], "--timeout=300s")
        shutil.rmtree(cluster.layout.discovery, ignore_errors=True)


def stop_operator(cluster: Cluster) -> None:
    """Stop a running operator; installing the chart starts it again."""
    where = ("--namespace", OPERATOR_NAMESPACE)
    if cluster.kubectl("get", "deployment", RELEASE, *where, "--ignore-not-found"):
        cluster.kubectl("scale", f"deployment/{RELEASE}", *where, "--replicas=0")
        pods = ("pods", f"--selector=app.kubernetes.io/name={RELEASE}")
        cluster.kubectl("wait", *pods, *where, "--for=delete", "--timeout=300s")


def install_chart(cluster: Cluster, key: str, **values: object) -> None:
    """Install the chart, or upgrade it, until the operator is ready.

    An incomplete release of a killed run is deleted first.
    """
    release = (RELEASE, "--namespace", OPERATOR_NAMESPACE)
    listing = ("--namespace", OPERATOR_NAMESPACE, "--all", "--output", "json")
    for found in json.loads(cluster.helm("list", *listing)):
        if found["name"] == RELEASE and found["status"] != "deployed":
            cluster.helm("uninstall", *release, "--wait", "--timeout", "300s")
    drop_other_versions(cluster)
    # The tag is always the same: the digest in the pod's annotations rolls out a new image.
    chosen = {**VALUES, "podAnnotations": {"cnpgplugin.dev/image": key}, **values}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(chosen, file)
        file.flush()
        cluster.helm(
            *("upgrade", "--install", *release, str(CHART), "--create-namespace"),
            *("--values", file.name, "--wait", "--timeout", "300s"),
        )


def install_operator(cluster: Cluster, **values: object) -> None:
    """Everything from the sources to a ready operator."""
    key = image_key()
    load_once(cluster, provide_image(key), key)
    install_chart(cluster, key, **values)
