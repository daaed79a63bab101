"""The command line: `python3 -m tests.cluster COMMAND`, see README.md beside this file."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.cluster import builds, dockerfiles, images, libraries, machine
from tests.cluster.cluster import DEFAULT_CNPG, DEFAULT_KUBERNETES, Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.paths import DEFAULT_NAME, NAME_VARIABLE

# All arguments after these words belong to the program that they start, options included.
PASSED_THROUGH = ("kubectl", "helm", "exec-ns")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description=__doc__)
    default = os.environ.get(NAME_VARIABLE, DEFAULT_NAME)
    parser.add_argument("--name", default=default, help=f"which cluster (default: {default})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=argparse.SUPPRESS, help="which cluster")

    up = commands.add_parser("up", parents=[named], help="start the cluster, or its missing parts")
    up.add_argument("--cnpg", default=DEFAULT_CNPG, choices=builds.CNPG_VERSIONS)
    up.add_argument("--kubernetes", default=DEFAULT_KUBERNETES, choices=builds.KUBERNETES_VERSIONS)
    up.add_argument("--no-addons", action="store_true", help="no cert-manager, no CloudNativePG")
    commands.add_parser("down", parents=[named], help="remove the cluster completely")
    status = commands.add_parser("status", parents=[named], help="show the state of the cluster")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    commands.add_parser("build", help="build every program and image the cluster needs")
    commands.add_parser("align", help="let the programs use the same versions of libraries again")

    load = commands.add_parser("load-image", parents=[named], help="load an image on the node")
    load.add_argument("image", help="an OCI archive, or the name of an image built on this machine")
    volume = commands.add_parser("add-volume", parents=[named], help="create a PersistentVolume")
    volume.add_argument("volume")
    volume.add_argument("--size", default="1Gi")
    build = commands.add_parser("build-image", help="build a Dockerfile (load-image loads it)")
    build.add_argument("context", type=Path)
    build.add_argument("tag", help="localhost/NAME:TAG")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    commands.add_parser("base-image", help=f"build {images.PYTHON_IMAGE}, a base for Dockerfiles")
    commands.add_parser("postgres-image", help=f"build {images.POSTGRES_IMAGE} for Clusters")
    commands.add_parser("plugin-image", help="build the sample plugin's images")

    logs = commands.add_parser("logs", parents=[named], help="print a component's log")
    logs.add_argument("component")
    for word in PASSED_THROUGH:
        commands.add_parser(word, help=f"run {word} [--] ARGUMENTS in the cluster's network")
    return parser


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split our own arguments from those of the program that we start."""
    own = list(argv)
    for position, word in enumerate(own):
        if word in PASSED_THROUGH:
            rest = own[position + 1 :]
            return own[: position + 1], rest[1:] if rest[:1] == ["--"] else rest
        if not word.startswith("-") and own[position - 1 : position] != ["--name"]:
            break
    return own, []


def _print_status(cluster: Cluster, output: str) -> int:
    status = cluster.status()
    if output == "json":
        print(json.dumps(asdict(status), indent=2))
    else:
        for key, value in asdict(status).items():
            shown = value
            if isinstance(value, dict):
                shown = " ".join(f"{k}{'' if alive else ' (DEAD)'}" for k, alive in value.items())
            print(f"{key.replace('_', ' '):16} {shown}")
    return 0 if status.state == "running" else 1


def _build_arguments(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ClusterError(f"--build-arg {pair}: expected NAME=VALUE")
        found[name] = value
    return found


def _build_everything() -> None:
    """Build what the tests need. Debian's packages are downloaded while Go compiles."""
    machine.install_debian_packages()
    programs = (
        builds.kubernetes(DEFAULT_KUBERNETES),
        *builds.NODE_PROGRAMS,
        builds.CERT_MANAGER,
        builds.PROMTOOL,
        builds.cnpg(DEFAULT_CNPG),
        *map(builds.sample_plugin, builds.SAMPLE_VERSIONS),
        builds.BARMAN_CLOUD,
        builds.S3,
        builds.cnpg(builds.OLDER_CNPG),
    )
    with ThreadPoolExecutor(max_workers=1) as beside:
        of_packages = beside.map(images.DebianImage.make, (images.PYTHON, images.POSTGRES))
        builds.build(programs)
        for image in (*images.always_loaded(DEFAULT_CNPG), *images.BACKUP):
            image.make()
        list(of_packages)


def _make(options: argparse.Namespace) -> None:
    """Run a command that needs no cluster."""
    match options.command:
        case "build":
            _build_everything()
        case "align":
            libraries.align_all()
        case "build-image":
            arguments = _build_arguments(options.build_arg)
            dockerfiles.build_image(options.context, options.tag, arguments)
        case "base-image":
            images.provide_base_image()
            print(images.PYTHON.archive)
        case "postgres-image":
            print(images.POSTGRES.make())
        case "plugin-image":
            for version in builds.SAMPLE_VERSIONS:
                print(images.sample_plugin(version).make())
        case unknown:
            raise ClusterError(f"unknown command {unknown!r}")


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    cluster = Cluster(options.name)
    match options.command:
        case "up":
            cluster.up(options.cnpg, kubernetes=options.kubernetes, addons=not options.no_addons)
        case "down":
            cluster.down()
        case "status":
            return _print_status(cluster, options.output)
        case "load-image":
            cluster.load_image(options.image)
        case "add-volume":
            cluster.add_volume(options.volume, options.size)
        case "logs":
            print(cluster.log(options.component).read_text(errors="replace"), end="")
        case "kubectl":
            _become(cluster.kubectl_argv(*rest))
        case "helm":
            _become(cluster.helm_argv(*rest))
        case "exec-ns":
            _become(cluster.in_namespace(rest or ["sh"]))
        case _:
            _make(options)
    return 0


def _become(argv: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def main() -> int:
    """Run the command; print one clear message and exit 1 on failure."""
    own, rest = _split(sys.argv[1:])
    try:
        return _run(_parser().parse_args(own), rest)
    except ClusterError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
