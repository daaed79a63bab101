"""Lets several programs use the same libraries, so that each is compiled once.

A Go package is compiled again for each version of anything that it imports. Kubernetes' API and its
client are a third of the code of most programs, so those that are not what the tests are about take
CloudNativePG's versions.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.cluster import builds
from tests.cluster.cluster import DEFAULT_CNPG
from tests.cluster.machine import go_program
from tests.cluster.progress import say

LEADER: Final = builds.cnpg(DEFAULT_CNPG)
"""It keeps the versions of its release."""

FOLLOWERS: Final = (
    builds.CERT_MANAGER,
    builds.BARMAN_CLOUD,
    builds.COREDNS,
    builds.HELM,
    builds.PROMTOOL,
    builds.sample_plugin("0.1.0"),
)

_OWN: Final = re.compile(r"grpc|genproto|cloudnative-pg|prometheus")
"""Libraries of which each program keeps its version: calls between plugins and CloudNativePG are
what the tests are about, and CNPG-I's versions are the subject."""

_REQUIRED: Final = re.compile(r"^(?:require )?\s*([^\s=]+) (v\S+)(?: // indirect)?$", re.MULTILINE)
_REPLACED: Final = re.compile(r"^replace (\S+) => \S+ (v\S+)$", re.MULTILINE)


def read_versions(module: Path) -> dict[str, str]:
    """Read which version of each library a module's go.mod chooses."""
    text = (module / "go.mod").read_text()
    return dict(_REQUIRED.findall(text)) | dict(_REPLACED.findall(text))


def find_deviations(follower: builds.Program) -> Iterator[tuple[str, str, str]]:
    """Find the libraries that differ: name, the program's version, the leader's."""
    wanted, found = read_versions(LEADER.module), read_versions(follower.module)
    for library in sorted(wanted.keys() & found.keys()):
        if wanted[library] != found[library] and not _OWN.search(library):
            yield library, found[library], wanted[library]


def align_all() -> None:
    """Give all programs the leader's versions. Raises `ClusterError`."""
    for follower in FOLLOWERS:
        say(f"aligning {follower.name}")
        _align(follower)


def _align(follower: builds.Program) -> None:
    # A requirement raises a version. Only a replacement lowers one that another library asks for.
    go, module = go_program(), follower.module
    for library, _, wanted in find_deviations(follower):
        builds.run_go([go, "mod", "edit", f"-require={library}@{wanted}"], module)
    builds.run_go([go, "mod", "tidy"], module)
    for library, _, wanted in find_deviations(follower):
        builds.run_go([go, "mod", "edit", f"-replace={library}={library}@{wanted}"], module)
    builds.run_go([go, "mod", "tidy"], module)
