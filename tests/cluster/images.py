"""The images of the cluster: how each is built, cached and loaded.

No image registry is used: an image is an OCI archive in the cache, keyed by its contents, and
containerd imports it from there.
"""

import hashlib
import json
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import builds
from tests.cluster.archives import FORMAT, ImageConfig, write_image, write_layer
from tests.cluster.errors import ClusterError
from tests.cluster.machine import install_debian_packages
from tests.cluster.node import PAUSE_IMAGE
from tests.cluster.paths import Layout, cache_directory
from tests.cluster.progress import heartbeat

PYTHON_IMAGE = "localhost/python:3.13"
POSTGRES_IMAGE = "localhost/postgresql:17"
S3_IMAGE = "localhost/gofakes3:1.2.0"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NON_ROOT = "10001:10001"
_DEBIAN_SUITE = "trixie"
_BOTOCORE = "usr/lib/python3/dist-packages/botocore/data"


@dataclass(frozen=True)
class ProgramImage:
    """An image with one static binary at one or more paths."""

    tag: str
    program: builds.Program
    paths: tuple[str, ...]
    config: ImageConfig

    @property
    def archive(self) -> Path:
        facts = json.dumps([self.program.directory.name, self.paths, repr(self.config)])
        return _archive(self.tag, facts)

    def make(self) -> Path:
        if not self.archive.exists():
            builds.build([self.program])
            with tempfile.TemporaryDirectory(dir=_work_directory()) as work:
                layer = Path(work) / "layer.tar"
                write_layer(layer, dict.fromkeys(self.paths, self.program.binary))
                _finish(self.archive, self.tag, layer, self.config)
        return self.archive


@dataclass(frozen=True)
class DebianImage:
    """An image with a minimal Debian, some packages, and perhaps one static binary in its root."""

    tag: str
    packages: tuple[str, ...]
    config: ImageConfig
    hooks: tuple[str, ...] = field(default=())
    program: builds.Program | None = None
    path: str = ""

    @property
    def archive(self) -> Path:
        facts: list[object] = [_DEBIAN_SUITE, self.packages, self.hooks, repr(self.config)]
        if self.program is not None:
            facts += [self.program.directory.name, self.path]
        return _archive(self.tag, json.dumps(facts))

    def make(self) -> Path:
        if not self.archive.exists():
            install_debian_packages()
            hooks = list(self.hooks)
            if self.program is not None:
                builds.build([self.program])
                hooks.append(f'cp {shlex.quote(str(self.program.binary))} "$1/{self.path}"')
            with (
                tempfile.TemporaryDirectory(dir=_work_directory()) as work,
                heartbeat(f"building {self.tag} from Debian packages"),
            ):
                layer = Path(work) / "layer.tar"
                include = f"--include={','.join(self.packages)}"
                options = ["--quiet", "--variant=essential", include]
                options += [f"--customize-hook={hook}" for hook in hooks]
                _run(["mmdebstrap", *options, _DEBIAN_SUITE, str(layer)])
                _finish(self.archive, self.tag, layer, self.config)
        return self.archive


Image = ProgramImage | DebianImage

PAUSE = ProgramImage(PAUSE_IMAGE, builds.PAUSE, ("pause",), ImageConfig(("/pause",)))
PYTHON = DebianImage(
    PYTHON_IMAGE,
    ("ca-certificates", "python3", "python3-venv", "libstdc++6"),
    ImageConfig(environment=(f"PATH={_PATH}", "LANG=C.UTF-8"), command=("python3",)),
)
POSTGRES = DebianImage(
    POSTGRES_IMAGE,
    ("ca-certificates", "postgresql-17", "locales-all", "tar", "procps"),
    ImageConfig(
        environment=(f"PATH=/usr/lib/postgresql/17/bin:{_PATH}", "LANG=C.UTF-8"), user="26"
    ),
    # CloudNativePG's images run as uid 26; Debian's package creates another uid.
    hooks=(
        'id=$(chroot "$1" id -u postgres); find "$1" -xdev -uid "$id" -exec chown -h 26 {} +',
        'chroot "$1" usermod -u 26 postgres',
    ),
)
S3 = ProgramImage(S3_IMAGE, builds.S3, ("gofakes3",), ImageConfig(("/gofakes3",), _NON_ROOT))
"""An object store in memory, for backups."""
BARMAN_CLOUD = ProgramImage(
    f"localhost/plugin-barman-cloud:v{builds.BARMAN_CLOUD_VERSION}",
    builds.BARMAN_CLOUD,
    ("manager",),
    ImageConfig(("/manager",), "65532:65532"),
)
BARMAN_CLOUD_SIDECAR = DebianImage(
    f"localhost/plugin-barman-cloud-sidecar:v{builds.BARMAN_CLOUD_VERSION}",
    ("barman-cli-cloud", "ca-certificates"),
    ImageConfig(("/manager",), "26:26", environment=(f"PATH={_PATH}", "LANG=C.UTF-8")),
    # Half of the image would describe Amazon's other services.
    hooks=(f'find "$1/{_BOTOCORE}" -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -r {{}} +',),
    program=builds.BARMAN_CLOUD,
    path="manager",
)
"""What the plugin adds to database pods: the same program beside Barman's commands for S3."""
BACKUP: tuple[Image, ...] = (S3, BARMAN_CLOUD, BARMAN_CLOUD_SIDECAR)


def from_here(manifest: str) -> str:
    """Replace the published images of CloudNativePG's project by those built here."""
    return manifest.replace("ghcr.io/cloudnative-pg/", "localhost/")


def cnpg(version: str) -> ProgramImage:
    """CloudNativePG's operator image; instance pods use a copy of the manager per architecture."""
    copies = "bin" if version in ("1.24.0", "1.25.0") else "operator"
    paths = ("manager", f"{copies}/manager_amd64")
    config = ImageConfig(("/manager",), _NON_ROOT)
    return ProgramImage(f"localhost/cnpg:{version}", builds.cnpg(version), paths, config)


def sample_plugin(version: str) -> ProgramImage:
    """One version of the sample CNPG-I plugin."""
    config = ImageConfig(("/sample-plugin",), _NON_ROOT)
    program = builds.sample_plugin(version)
    return ProgramImage(f"localhost/sample-plugin:{version}", program, ("sample-plugin",), config)


def always_loaded(cnpg_version: str | None) -> list[Image]:
    """List the images that `up` loads on the node."""
    found: list[Image] = [PAUSE]
    if cnpg_version is not None:
        found.append(cnpg(cnpg_version))
    found.extend(sample_plugin(version) for version in builds.SAMPLE_VERSIONS)
    return found


def _archive(tag: str, facts: str) -> Path:
    name = tag.rpartition("/")[2].replace(":", "-")
    key = hashlib.sha256(f"{FORMAT} {facts}".encode()).hexdigest()[:16]
    return cache_directory() / "images" / f"{name}-{key}.tar"


def _work_directory() -> Path:
    directory = cache_directory() / "work"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _finish(archive: Path, tag: str, layer: Path, config: ImageConfig) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = layer.with_name("image.tar")
    write_image(partial, tag, layer, config)
    partial.replace(archive)


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ClusterError(f"{argv[0]} failed (exit {done.returncode}):\n{lines}")
    return done.stdout


def import_archive(layout: Layout, archive: Path) -> None:
    """Load an archive's images on the node."""
    client = ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]
    _run([*client, "images", "import", str(archive)])


def known_archive(reference: str) -> Path | None:
    """Find the cached archive of one of our own images; build it if it is missing."""
    own: list[Image] = [PYTHON, POSTGRES, *BACKUP, *always_loaded(None)]
    for image in own:
        if image.tag == reference:
            return image.make()
    return None


def load(layout: Layout, reference: str) -> None:
    """Load an archive file, one of our own images or one that was built here on the node."""
    archive = Path(reference) if Path(reference).is_file() else known_archive(reference)
    if archive is not None:
        import_archive(layout, archive)
        return
    with tempfile.TemporaryDirectory(dir=_work_directory()) as work:
        exported = Path(work) / "image.tar"
        # Unlike an OCI archive it is not compressed, which takes a quarter of the time.
        _run(["buildah", "push", "--quiet", reference, f"docker-archive:{exported}:{reference}"])
        import_archive(layout, exported)


def provide_base_image() -> None:
    """Build the Python base and store it where Dockerfiles built here find it."""
    archive = PYTHON.make()
    listing = ["buildah", "images", "--no-trunc", "--format", "{{.Name}}:{{.Tag}} {{.ID}}"]

    def stored() -> list[str]:
        return [line for line in _run(listing).splitlines() if line.startswith(PYTHON_IMAGE)]

    stamp = archive.with_suffix(".stored")
    if stamp.exists() and stored() == stamp.read_text().splitlines() != []:
        return
    _run(["buildah", "pull", "--quiet", f"oci-archive:{archive}"])
    stamp.write_text("\n".join(stored()))
