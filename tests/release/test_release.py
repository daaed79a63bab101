"""A release is built twice and compared, and what it says of itself is true.

Then it is installed as a user does: the image from its archive, the chart from its package.
"""

import gzip
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from config.release import images, packages
from config.release.__main__ import build
from config.release.checkout import ARCHITECTURES, NAME, ROOT, Release
from config.release.compare import differences
from tests.cluster import Cluster, builds
from tests.support.e2e.api import Api
from tests.support.e2e.installation import OPERATOR_NAMESPACE, install_operator, stop_operator
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins
from tests.support.resources import plugin

VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
REPOSITORY: Final = "localhost/cnpg-plugin-operator"
MACHINES: Final = {"amd64": 62, "arm64": 183}
"""What the header of a program says."""
SIGNER: Final = "Release <release@example.com>"

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release of the current commit."""
    return build(VERSION, REPOSITORY, tmp_path_factory.mktemp("release") / "first")


def files_of(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of an image; reads it in another way than the release does."""
    with tarfile.open(archive) as outer:
        for blob in outer.getmembers():
            content = outer.extractfile(blob)
            data = content.read() if content else b""
            if not data.startswith(b"\x1f\x8b"):
                continue
            with tarfile.open(fileobj=BytesIO(gzip.decompress(data))) as layer:
                for entry in layer:
                    found = layer.extractfile(entry) if entry.isfile() else None
                    if found is not None:
                        yield entry.name.lstrip("./"), found.read()


def contents(release: Release, architecture: str, suffix: str) -> dict[str, Any]:
    """What the release says is in an image."""
    archive = images.archive_of(release, architecture)
    return dict(json.loads(archive.with_suffix(suffix).read_text()))


def test_two_builds_are_equal_byte_for_byte(release: Release, tmp_path: Path) -> None:
    second = build(VERSION, REPOSITORY, tmp_path / "second")
    assert differences(release.output, second.output, signed=False) == []


def test_a_release_is_complete(release: Release) -> None:
    image = f"{NAME}-{VERSION}-image"
    python = NAME.replace("-", "_")
    parts = [
        f"{image}-{architecture}{suffix}"
        for architecture in ARCHITECTURES
        for suffix in (".tar", ".cdx.json", ".spdx.json")
    ]
    parts += [f"{python}-{VERSION}.tar.gz", f"{python}-{VERSION}-py3-none-any.whl"]
    parts += [f"{NAME}-{VERSION}.tgz", f"{NAME}-{VERSION}-olm-bundle.tgz"]
    parts += ["crd.yaml", "install.yaml", "RELEASE_NOTES.md", "SHA256SUMS"]
    assert sorted(path.name for path in release.output.iterdir()) == sorted(parts)
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=release.output, check=True)


@each_architecture
def test_an_image_has_its_size_and_its_architecture(release: Release, architecture: str) -> None:
    size, machines = 0, set()
    for _, data in files_of(images.archive_of(release, architecture)):
        size += len(data)
        if data.startswith(b"\x7fELF"):
            machines.add(int.from_bytes(data[18:20], "little"))
    assert 0 < size <= 200_000_000
    assert machines == {MACHINES[architecture]}


@each_architecture
def test_the_list_of_contents_agrees_with_the_image(release: Release, architecture: str) -> None:
    inside = set()
    for path, data in files_of(images.archive_of(release, architecture)):
        folder = path.rpartition("/")[0].rpartition("/")[2]
        if folder.endswith(".dist-info"):
            name, _, version = folder.removesuffix(".dist-info").partition("-")
            inside.add((name.lower().replace("_", "-"), version))
        if folder == "status.d":
            fields = dict(line.partition(": ")[::2] for line in data.decode().splitlines())
            inside.add((fields["Package"], fields["Version"]))
    cyclonedx = contents(release, architecture, ".cdx.json")["components"]
    spdx = contents(release, architecture, ".spdx.json")["packages"][1:]
    normal = {(each["name"].lower().replace("_", "-"), each["version"]) for each in cyclonedx}
    assert normal == inside
    assert {(each["name"], each["versionInfo"]) for each in spdx} == {
        (each["name"], each["version"]) for each in cyclonedx
    }
    assert {"kopf", "libc6", "python3.13-minimal"} <= {name for name, _ in inside}


@each_architecture
def test_the_lists_of_contents_are_valid(release: Release, architecture: str) -> None:
    archive = images.archive_of(release, architecture)
    text = archive.with_suffix(".cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = parse_file(str(archive.with_suffix(".spdx.json")))
    assert validate_full_spdx_document(document) == []


def test_operator_framework_finds_nothing_wrong_with_the_bundle(
    release: Release, tmp_path: Path
) -> None:
    with tarfile.open(release.output / f"{NAME}-{VERSION}-olm-bundle.tgz") as bundle:
        bundle.extractall(tmp_path, filter="data")
    judge = builds.find(builds.Program("olm", ROOT / "tests" / "plugins" / "olm"))
    done = subprocess.run([judge, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_the_chart_names_the_image_of_its_release(release: Release) -> None:
    with tarfile.open(release.output / f"{NAME}-{VERSION}.tgz") as chart:
        values, metadata = (
            yaml.safe_load(content.read())
            for name in ("values.yaml", "Chart.yaml")
            if (content := chart.extractfile(f"{NAME}/{name}"))
        )
    assert values["image"]["repository"] == REPOSITORY
    [image] = yaml.safe_load(metadata["annotations"]["artifacthub.io/images"])
    assert image["image"] == f"{REPOSITORY}:{VERSION}"


@pytest.mark.parametrize("name", ["checks", "release"])
def test_a_workflow_is_valid(name: str) -> None:
    judge = builds.find(builds.ACTIONLINT)
    workflow = str(ROOT / ".github" / "workflows" / f"{name}.yaml")
    done = subprocess.run([judge, workflow], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_helm_verifies_a_signed_chart(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    tmp_path.chmod(0o700)
    new = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", SIGNER, "rsa3072", "sign"]
    subprocess.run(new, check=True, capture_output=True)
    monkeypatch.setenv(packages.SIGNING_KEY, SIGNER)
    signed = tmp_path / "signed"
    signed.mkdir()
    again = Release(VERSION, REPOSITORY, release.epoch, ROOT, signed)
    packages.package_chart(again, tmp_path)
    keyring = tmp_path / "public.gpg"
    export = ["gpg", "--export", "--output", str(keyring)]
    subprocess.run(export, check=True, capture_output=True)
    verify = [builds.find(builds.HELM), "verify", "--keyring", str(keyring)]
    subprocess.run([*verify, str(signed / f"{NAME}-{VERSION}.tgz")], check=True)


@pytest.fixture
def plugins(cluster: Cluster, api: Api) -> Iterator[Plugins]:
    """A cluster without an operator; at the end it has this tree's again."""
    stop_operator(cluster)
    found = Plugins(Operator(cluster, api))
    yield found
    found.clean_up()
    install_operator(cluster)


def test_it_installs_as_a_user_does(release: Release, cluster: Cluster, plugins: Plugins) -> None:
    cluster.load_image(images.archive_of(release, "amd64"))
    values = Path(__file__).with_name("values.yaml")
    cluster.helm(
        *("upgrade", "--install", NAME, str(release.output / f"{NAME}-{VERSION}.tgz")),
        *("--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--values", str(values)),
        *("--wait", "--timeout", "300s"),
    )
    running = cluster.kubectl(
        *("get", "pods", "--namespace", OPERATOR_NAMESPACE, "--selector=team=databases"),
        "--output=jsonpath={.items[*].spec.containers[*].image}",
    )
    assert running.split() == [f"{REPOSITORY}:{VERSION}"] * 2
    plugins.apply(plugin("released"))
    plugins.until_ready("released", within=300)
