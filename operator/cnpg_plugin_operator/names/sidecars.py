"""What plugins add to CloudNativePG's pod in mode Sidecar."""

from typing import Final

from cnpg_plugin_operator.names.children import shorten

_DIRECTORY_LENGTH: Final = 29
"""With a plugin name of 63 characters, the path of a socket then has 107 bytes, the longest that a
client can connect to (`sun_path` in unix(7))."""

_LABEL_LENGTH: Final = 63

VOLUME_SOCKETS: Final = "cnpg-plugins-sockets"
"""Volume at CloudNativePG's socket directory with the gate's links to the plugins' sockets. No
sidecar mounts it."""

SOCKET_DIRECTORIES: Final = "/cnpg-plugins"
"""Where CloudNativePG and the gate see each sidecar's own socket directory, by resource."""

VOLUME_NO_TOKEN: Final = "cnpg-plugins-no-token"  # noqa: S105 - the name of a volume
"""Empty volume, mounted over the token of CloudNativePG's account."""

TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where the API server mounts an account's token unless something else is mounted there."""

GATE: Final = "cnpg-plugins-gate"
"""Init container after all sidecars. It lets CloudNativePG start once their sockets answer, or at
its deadline."""

PREFIX: Final = "cnpg-plugin-"
"""Prefix of the containers and volumes of sidecars, so that their names never collide."""


def container(name: str) -> str:
    """Name the container of a plugin in CloudNativePG's pod."""
    return _label(f"{PREFIX}{name}")


def volume(name: str, volume: str) -> str:
    """Name a volume of a sidecar; two plugins may use the same name."""
    text = f"{container(name)}--{volume}"
    # With another `--` in it, the text would have two readings.
    return _label(text, parts=f"{name}/{volume}" if text.count("--") > 1 else "")


def socket_volume(name: str) -> str:
    """Name the volume that holds the socket of one sidecar and of no other."""
    return _label(f"cnpg-plugins-socket-{name}")


def socket_directory(name: str) -> str:
    """Name the directory of a sidecar's socket, in CloudNativePG's container and in the gate."""
    return f"{SOCKET_DIRECTORIES}/{socket_subdirectory(name)}"


def socket_subdirectory(name: str) -> str:
    """Name the same directory, relative to the one of all sidecars."""
    return _label(name, length=_DIRECTORY_LENGTH)


def _label(text: str, parts: str = "", length: int = _LABEL_LENGTH) -> str:
    """Shorten a name to the length of a DNS label; a digest keeps long names distinct."""
    return shorten(text, length, parts)
