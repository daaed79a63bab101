"""Builds an image from a Dockerfile on a machine whose package index may be private.

The build uses the index and trusts the certificates of this machine's own pip, through files that
are mounted while it runs: they are available to `pip install` inside, but the image does not
contain them.
"""

import configparser
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.images import PYTHON_IMAGE, provide_base_image
from tests.cluster.machine import install_debian_packages
from tests.cluster.paths import cache_directory
from tests.cluster.progress import heartbeat

_CERTIFICATES = "/etc/ssl/certs"
_BUNDLE = f"{_CERTIFICATES}/ca-certificates.crt"
# Settings for the source of packages; paths of this machine have no meaning inside.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
_UV_SETTINGS = {
    "UV_DEFAULT_INDEX": "index-url",
    "UV_INDEX_URL": "index-url",
    "UV_EXTRA_INDEX_URL": "extra-index-url",
}


def _pip_settings() -> dict[str, str]:
    """Read this machine's own settings; environment variables override pip's files."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[str, str] = {}
    for line in listing.stdout.splitlines():
        name, _, value = line.partition("=")
        scope, _, setting = name.partition(".")
        if scope in ("global", "install", ":env:") and setting in _PIP_SETTINGS:
            found[setting] = value.strip("'\"")
    return found


def _pip_file() -> str:
    parser = configparser.RawConfigParser()
    parser["global"] = {"cert": _BUNDLE, "disable-pip-version-check": "1", **_pip_settings()}
    lines = [f"{name} = {value}" for name, value in parser["global"].items()]
    return "\n".join(["[global]", *lines, ""])


def _uv_file() -> str:
    lines = ["native-tls = true"]
    for variable, setting in _UV_SETTINGS.items():
        value = os.environ.get(variable)
        if value and setting == "index-url":
            lines.append(f'index-url = "{value}"')
        elif value:
            quoted = ", ".join(f'"{part}"' for part in value.split())
            lines.append(f"{setting} = [{quoted}]")
    return "\n".join([*dict.fromkeys(lines), ""])


def _volumes(work: Path) -> list[str]:
    (work / "pip.conf").write_text(_pip_file())
    (work / "uv.toml").write_text(_uv_file())
    wheels = cache_directory() / "pip"
    wheels.mkdir(parents=True, exist_ok=True)
    mounts = [
        f"{_CERTIFICATES}:{_CERTIFICATES}:ro",
        f"{work / 'pip.conf'}:/etc/pip.conf:ro",
        f"{work / 'uv.toml'}:/etc/uv/uv.toml:ro",
        f"{wheels}:/root/.cache/pip:rw",
    ]
    return [part for mount in mounts for part in ("--volume", mount)]


def build_image(
    context: Path, tag: str, build_args: Mapping[str, str], options: Sequence[str] = ()
) -> None:
    """Build context's Dockerfile as tag, in buildah's storage on this machine."""
    install_debian_packages()
    if PYTHON_IMAGE in build_args.values():
        provide_base_image()
    arguments = [
        part for name, value in build_args.items() for part in ("--build-arg", f"{name}={value}")
    ]
    with tempfile.TemporaryDirectory() as work, heartbeat(f"building image {tag}"):
        usual = ["--isolation", "chroot", "--layers", *_volumes(Path(work)), *arguments]
        done = subprocess.run(
            ["buildah", "bud", *usual, *options, "--tag", tag, str(context)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise ClusterError(f"building the image {tag} failed:\n{lines}")
