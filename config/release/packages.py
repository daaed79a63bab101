"""The files of a release besides images: Python packages, chart, manifests, notes, checksums."""

import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from config.olm import bundle
from config.release.checkout import ARCHITECTURES, NAME, Release, ReleaseError, run
from tests.cluster import builds

SIGNING_KEY = "CNPGP_SIGNING_KEY"
"""The variable with gpg's name of the key that signs the chart; without it nothing is signed."""


def build_python_packages(release: Release) -> None:
    """Build the source distribution and the wheel."""
    run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(release.output)],
        cwd=release.tree,
        environment=release.environment,
    )


def package_chart(release: Release, work: Path) -> None:
    """Package the chart as Helm does, but with the commit's time instead of today's.

    It names the image of this release; the chart of a checkout names none.
    """
    helm, chart = builds.find(builds.HELM), work / NAME
    shutil.copytree(release.chart, chart)
    _name_image(release, chart)
    run([helm, "package", str(chart), "--destination", str(work)])
    name = f"{NAME}-{release.version}.tgz"
    target = release.output / name
    with tarfile.open(work / name) as packed:
        members = [(entry.name, packed.extractfile(entry)) for entry in packed.getmembers()]
        _write_archive(release, target, {path: file.read() for path, file in members if file})
    key = os.environ.get(SIGNING_KEY)
    if key:
        _sign_chart(chart, target, key)


def _name_image(release: Release, chart: Path) -> None:
    """Make the release's image the default, and tell Artifact Hub about it."""
    values = chart / "values.yaml"
    before, empty, after = values.read_text().partition('\n  repository: ""\n')
    if not empty:
        raise ReleaseError(f"{values.name} of the chart has no empty image.repository")
    values.write_text(f'{before}\n  repository: "{release.repository}"\n{after}')
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    image = {
        "name": NAME,
        "image": f"{release.repository}:{release.version}",
        "platforms": [f"linux/{each}" for each in ARCHITECTURES],
    }
    metadata["annotations"]["artifacthub.io/images"] = yaml.safe_dump([image], sort_keys=False)
    (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata, sort_keys=False))


def _write_archive(release: Release, target: Path, files: Mapping[str, bytes]) -> None:
    """Write a compressed archive in which every file has the commit's time."""
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=release.epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, release.epoch
            archive.addfile(entry, BytesIO(content))


def _sign_chart(chart: Path, package: Path, key: str) -> None:
    """Write the provenance file that `helm verify` reads. It contains when it was signed."""
    sums = f"\n...\nfiles:\n  {package.name}: sha256:{_digest(package)}\n"
    statement = (chart / "Chart.yaml").read_text() + sums
    signed = run(
        ["gpg", "--batch", "--local-user", key, "--digest-algo", "SHA512", "--clearsign"],
        text=statement,
    )
    package.with_name(f"{package.name}.prov").write_text(signed)


def write_manifests(release: Release) -> None:
    """Write the resource type, and one file with everything for those who use no Helm."""
    crd = release.tree / "crds" / "cnpgplugin.dev_cnpgplugins.yaml"
    shutil.copyfile(crd, release.output / "crd.yaml")
    (release.output / "install.yaml").write_text(
        f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAME}\n" + _render(release, NAME, {})
    )


def write_olm_bundle(release: Release) -> None:
    """Write the folder from which an image for OLM is built."""
    rendered = _render(release, bundle.NAMESPACE, bundle.VALUES)
    samples = [
        sample
        for file in sorted((release.tree / "config" / "samples").glob("*.yaml"))
        for sample in yaml.safe_load_all(file.read_text())
        if sample["kind"] == "CNPGPlugin"
    ]
    files = bundle.build_bundle(rendered, samples, release.version)
    content = {path: text.encode() for path, text in files.items()}
    _write_archive(release, release.output / f"{NAME}-{release.version}-olm-bundle.tgz", content)


def _render(release: Release, namespace: str, values: Mapping[str, Any]) -> str:
    kubernetes = yaml.safe_load((release.chart / "Chart.yaml").read_text())["kubeVersion"]
    given = {**values, "image": {"repository": release.repository}}
    return run(
        [
            *(builds.find(builds.HELM), "template", NAME, str(release.chart)),
            *("--namespace", namespace, "--kube-version", kubernetes.removeprefix(">=")),
            *("--values", "-"),
        ],
        text=json.dumps(given),
    )


def write_notes(release: Release) -> None:
    """Write what the changelog says of this version."""
    changelog = (release.tree / "CHANGELOG.md").read_text()
    heading = rf"^## \[{re.escape(release.version)}\].*\n([\s\S]*?)(?=^## \[|\Z)"
    found = re.search(heading, changelog, re.MULTILINE)
    if found is None:
        raise ReleaseError(f"CHANGELOG.md has no section [{release.version}]")
    (release.output / "RELEASE_NOTES.md").write_text(found[1].strip() + "\n")


def write_checksums(release: Release) -> None:
    """Write the digest of every file of the release, as `sha256sum --check` reads them."""
    sums = release.output / "SHA256SUMS"
    files = sorted(path for path in release.output.iterdir() if path != sums)
    sums.write_text("".join(f"{_digest(path)}  {path.name}\n" for path in files))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
