"""The image of each architecture as an OCI archive.

The root file system of an architecture consists of Debian's packages, which are only unpacked, and
the Python packages are those of the index for it: nothing of it runs, so one machine builds all,
without an emulator.
"""

import subprocess
from pathlib import Path

from config.release.checkout import NAME, Release, run
from tests.cluster import dockerfiles
from tests.cluster.archives import ImageConfig, write_image, write_layout
from tests.cluster.images import PYTHON_IMAGE
from tests.cluster.machine import install_debian_packages

SUITE = "trixie"
PACKAGES = "base-files,libstdc++6,python3"
"""What the image's own root file system is chosen from (config/image)."""
RECORD = """
database=$1/var/lib/dpkg
for deb in "$1"/var/cache/apt/archives/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    { dpkg-deb --field "$deb"; echo "Status: install ok installed"; echo; } >> "$database/status"
    dpkg-deb --fsys-tarfile "$deb" | tar --list | sed "s/^\\.//" > "$database/info/$name.list"
done
"""
"""Tells dpkg's database about the packages that mmdebstrap only unpacks."""


def archive_of(release: Release, architecture: str) -> Path:
    """Name the archive of one architecture."""
    return release.output / f"{NAME}-{release.version}-image-{architecture}.tar"


def build_image(release: Release, architecture: str, work: Path) -> None:
    """Build the image of one architecture, and write its archive."""
    install_debian_packages()
    # Of this build only: another one may run at the same time.
    root, built = (f"localhost/{kind}:{work.name}-{architecture}" for kind in ("root", "release"))
    _store_root(root, architecture, work, release)
    values = {"BASE": PYTHON_IMAGE, "TARGET": root, "TARGETARCH": architecture}
    dockerfiles.build_image(
        release.tree,
        built,
        {**values, "SOURCE_DATE_EPOCH": str(release.epoch)},
        (
            *("--layers=false", "--no-cache", "--identity-label=false"),
            *("--timestamp", str(release.epoch)),
        ),
    )
    layout = work / f"layout-{architecture}"
    run(["buildah", "push", "--quiet", built, f"oci:{layout}:image"])
    # An equal image of another build may be in use.
    subprocess.run(["buildah", "rmi", built, root], capture_output=True, check=False)
    tag = f"{release.repository}:{release.version}"
    write_layout(archive_of(release, architecture), tag, layout, architecture=architecture)


def _store_root(tag: str, architecture: str, work: Path, release: Release) -> None:
    """Unpack Debian's packages, and store them where the Dockerfile finds them."""
    layer, archive = work / f"root-{architecture}.tar", work / f"root-image-{architecture}.tar"
    options = [f"--architectures={architecture}", "--variant=extract", f"--include={PACKAGES}"]
    options.append(f"--extract-hook={RECORD}")
    run(
        ["mmdebstrap", "--quiet", *options, SUITE, str(layer)],
        environment=release.environment,
    )
    write_image(archive, tag, layer, ImageConfig(), architecture=architecture)
    run(["buildah", "pull", "--quiet", f"oci-archive:{archive}"])
