"""Every download for a build or a test is locked by hash, and the locks agree."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.e2e.installation import _INPUTS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKS = [
    "requirements.lock",
    "requirements-build.lock",
    "requirements-dev.lock",
    "requirements-release.lock",
]


def locked(lock: str) -> dict[str, str]:
    """The versions in a lock."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(found)


def test_the_build_lock_matches_the_build_requirements() -> None:
    requires = PROJECT["build-system"]["requires"]
    assert PROJECT["dependency-groups"]["build"] == requires
    assert dict(each.split("==") for each in requires).items() <= locked(LOCKS[1]).items()


@pytest.mark.parametrize("lock", LOCKS[:2])
def test_the_tests_use_the_versions_of_the_build_and_the_image(lock: str) -> None:
    assert locked(lock).items() <= locked(LOCKS[2]).items()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_package_has_a_hash(lock: str) -> None:
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(lock))
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


def test_the_image_is_built_only_from_locked_packages() -> None:
    """Each call of pip installs by hash, or downloads nothing."""
    steps = DOCKERFILE.replace("\\\n", " ").replace("&&", "\n").splitlines()
    calls = [step for step in steps if "bin/pip " in step]
    assert len(calls) == 4
    for call in calls:
        offline = "--no-deps" in call and ("--no-index" in call or "--no-build-isolation" in call)
        assert "--require-hashes" in call or offline, call
    installing = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if " pip install " in line
    ]
    assert len(installing) == 3
    for line in installing:
        assert "--require-hashes" in line or "--no-deps --no-build-isolation" in line


def test_the_base_image_has_no_default() -> None:
    assert re.findall(r"^ARG BASE.*$", DOCKERFILE, re.MULTILINE) == ["ARG BASE", "ARG BASE"]
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert stages == ["${TARGET}", "${BASE}", "scratch"]


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("python:3.13-slim-trixie", "python:3.13-slim-trixie has no digest"),
        ("registry.example.com/python@3.13", "write registry.example.com/python@3.13@sha256:"),
        (f"python:3.13-slim-trixie@sha256:{'0' * 64}", ""),
        ("localhost/python:3.13", ""),
    ],
)
def test_a_base_image_without_digest_is_refused(base: str, says: str) -> None:
    [check] = re.findall(r"^RUN (for image .*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    fine = "localhost/python:3.13"
    for environment in ({"BASE": base, "TARGET": fine}, {"BASE": fine, "TARGET": base}):
        done = subprocess.run(
            ["sh", "-c", check], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, says in done.stderr) == (1 if says else 0, True)


def test_a_changed_input_produces_another_image() -> None:
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert {*let_through} - {"operator"} == {*_INPUTS} - {".dockerignore", "Dockerfile"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for names in copied for name in names.split()} == {*let_through}
