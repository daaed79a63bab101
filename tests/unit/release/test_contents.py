"""What a release says of itself: contents, licenses, notes, and how two builds differ."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from config.release.checkout import Release, ReleaseError
from config.release.compare import differences
from config.release.licenses import unknown_parts
from config.release.packages import write_checksums, write_notes
from config.release.sbom import Package, cyclonedx, read_packages, spdx
from tests.cluster.archives import ImageConfig, write_image

FILES = {
    "opt/operator/lib/python3.13/site-packages/PyYAML-6.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0\nLicense: MIT\n\nText\n"
    ),
    "opt/operator/lib/python3.13/site-packages/yaml/METADATA": "Name: no package\n",
    "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 1:2.4+b1\nArchitecture: amd64\n",
}
IMAGE = Package("pkg:oci/operator@1.0", "operator", "1.0", "MIT")
PACKAGES = [
    Package("pkg:deb/debian/libc6@1%3A2.4%2Bb1?arch=amd64&distro=debian-13", "libc6", "1:2.4+b1"),
    Package("pkg:pypi/pyyaml@6.0", "PyYAML", "6.0", "MIT"),
]


def release_of(tmp_path: Path, version: str = "1.0") -> Release:
    """A release of a tree in which a test writes what it needs."""
    for name in ("tree", "dist"):
        (tmp_path / name).mkdir()
    return Release(version, "localhost/operator", 1, tmp_path / "tree", tmp_path / "dist")


def test_an_image_is_listed_by_what_its_packages_say(tmp_path: Path) -> None:
    layer, archive = tmp_path / "layer.tar", tmp_path / "image.tar"
    with tarfile.open(layer, "w") as written:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            written.addfile(entry, BytesIO(text.encode()))
    write_image(archive, "localhost/operator:1.0", layer, ImageConfig())
    assert read_packages(archive) == PACKAGES


def test_both_formats_list_the_same_packages() -> None:
    normal = json.loads(cyclonedx(PACKAGES, IMAGE, 0))
    other = json.loads(spdx(PACKAGES, IMAGE, 0))
    purls = [package.purl for package in PACKAGES]
    assert [each["purl"] for each in normal["components"]] == purls
    listed = [each["externalRefs"][0]["referenceLocator"] for each in other["packages"]]
    assert listed == [IMAGE.purl, *purls]
    assert len(other["relationships"]) == len(listed)


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("MIT", []),
        ("Apache-2.0 AND BSD-2-Clause", []),
        ("MIT OR GPL-3.0-only", ["GPL-3.0-only"]),
        ("", [""]),
    ],
)
def test_every_license_of_an_expression_has_to_be_allowed(
    expression: str, refused: list[str]
) -> None:
    assert unknown_parts(expression) == refused


def test_the_notes_are_the_changelogs_section_of_the_version(tmp_path: Path) -> None:
    release = release_of(tmp_path)
    changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.0]\n\n- new\n\n## [0.9]\n\n- old\n"
    (release.tree / "CHANGELOG.md").write_text(changelog)
    write_notes(release)
    assert (release.output / "RELEASE_NOTES.md").read_text() == "- new\n"


def test_a_version_without_a_section_is_refused(tmp_path: Path) -> None:
    release = release_of(tmp_path, "2.0")
    (release.tree / "CHANGELOG.md").write_text("## [1.0]\n\n- new\n")
    with pytest.raises(ReleaseError, match=r"no section \[2.0\]"):
        write_notes(release)


def test_only_the_signature_may_differ(tmp_path: Path) -> None:
    first, second = release_of(tmp_path).output, tmp_path / "again"
    second.mkdir()
    for folder, text in ((first, "one"), (second, "two")):
        (folder / "chart.tgz").write_text("equal")
        (folder / "chart.tgz.prov").write_text(text)
    assert differences(first, second, signed=True) == []
    assert differences(first, second, signed=False) == ["chart.tgz.prov"]
    (first / "crd.yaml").write_text("only one has it")
    assert differences(first, second, signed=True) == ["crd.yaml"]


def test_every_file_has_a_checksum(tmp_path: Path) -> None:
    release = release_of(tmp_path)
    (release.output / "a").write_text("")
    write_checksums(release)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (release.output / "SHA256SUMS").read_text() == f"{empty}  a\n"
