"""The command line: `make release VERSION=0.2.0` builds everything that a release consists of."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from config.release import images, packages, sbom
from config.release.checkout import ARCHITECTURES, NAME, ROOT, Release, ReleaseError, check_out
from tests.cluster.errors import ClusterError
from tests.cluster.progress import say


def build(version: str, repository: str, output: Path) -> Release:
    """Build the current commit's release into an empty folder."""
    if output.exists():
        shutil.rmtree(output)
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        work = Path(folder)
        release = check_out(version, repository, work / "tree", output)
        packages.build_python_packages(release)
        packages.package_chart(release, work)
        packages.write_manifests(release)
        packages.write_olm_bundle(release)
        packages.write_notes(release)
        for architecture in ARCHITECTURES:
            images.build_image(release, architecture, work)
            _write_contents(release, architecture)
        packages.write_checksums(release)
    return release


def _write_contents(release: Release, architecture: str) -> None:
    archive = images.archive_of(release, architecture)
    purl = f"pkg:oci/{NAME}@{release.version}?arch={architecture}"
    image = sbom.Package(purl, NAME, release.version, "Apache-2.0")
    found = sbom.read_packages(archive)
    name = release.output / archive.stem
    for suffix, write in ((".cdx.json", sbom.cyclonedx), (".spdx.json", sbom.spdx)):
        name.with_name(f"{archive.stem}{suffix}").write_text(write(found, image, release.epoch))


def main() -> int:
    """Build a release, or say in one line why that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m config.release", description=__doc__)
    parser.add_argument("version", help="the version of the current commit")
    parser.add_argument("--repository", required=True, help="the image's, without a tag")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    try:
        release = build(options.version, options.repository, options.output)
    except (ReleaseError, ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in sorted(release.output.iterdir()):
        say(f"{path.stat().st_size / 1e6:7.1f} MB  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
