"""What a release is made from: one commit, whatever else lies in the working directory.

Everything that a release contains has the commit's time, so that another build of the same commit
is equal byte for byte.
"""

import os
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "cnpg-plugin-operator"
ARCHITECTURES = ("amd64", "arm64")


class ReleaseError(Exception):
    """The release cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Release:
    """The version, and where its files come from and go to."""

    version: str
    repository: str
    """Of the image, without a tag."""
    epoch: int
    tree: Path
    output: Path

    @property
    def chart(self) -> Path:
        """The chart's sources."""
        return self.tree / "charts" / NAME

    @property
    def environment(self) -> Mapping[str, str]:
        """For programs that write files: one time, and one order of sets."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "PYTHONHASHSEED": "0"}


def check_out(version: str, repository: str, tree: Path, output: Path) -> Release:
    """Write the files of the current commit to tree; it has to be this version."""
    if run(["git", "status", "--porcelain"], cwd=ROOT).strip():
        raise ReleaseError("the working directory has changes: commit them, a release is a commit")
    epoch = int(run(["git", "log", "-1", "--format=%ct"], cwd=ROOT))
    archive = tree.with_suffix(".tar")
    run(["git", "archive", "--output", str(archive), "HEAD"], cwd=ROOT)
    with tarfile.open(archive) as files:
        files.extractall(tree, filter="tar")
    found = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    if found != version:
        raise ReleaseError(f"this commit is version {found}, not {version}: see pyproject.toml")
    output.mkdir(parents=True, exist_ok=True)
    return Release(version, repository, epoch, tree, output)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
) -> str:
    """Run a program and return what it prints; its own message explains a failure."""
    done = subprocess.run(
        argv, cwd=cwd, env=environment, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
