"""What plugins add to CloudNativePG's pod in mode Sidecar."""

from typing import Final

from cnpg_plugin_operator.names.children import shorten

_DIRECTORY_LENGTH: Final = 29
"""Of a name below it: with a plugin's name of 63 characters, the path of a socket has 107 bytes,
which is the longest that can be connected to (`sun_path` in unix(7))."""

_LABEL_LENGTH: Final = 63

VOLUME_SOCKETS: Final = "cnpg-plugins-sockets"
"""Volume at CloudNativePG's socket directory: the gate's links to the sockets of the plugins. No
sidecar mounts it."""

SOCKET_DIRECTORIES: Final = "/cnpg-plugins"
"""Where CloudNativePG and the gate see each sidecar's own socket directory, by resource."""

VOLUME_NO_TOKEN: Final = "cnpg-plugins-no-token"  # noqa: S105 - the name of a volume
"""Empty volume, mounted where the token of CloudNativePG's account would be found."""

TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where the API server mounts an account's token unless something else is mounted there."""

GATE: Final = "cnpg-plugins-gate"
"""Init container after all sidecars: CloudNativePG starts when their sockets answer, or in the
end."""

PREFIX: Final = "cnpg-plugin-"
"""Begins the names of sidecars and of their volumes, so that they never meet somebody else's."""


def container(name: str) -> str:
    """Name the container of a plugin in CloudNativePG's pod."""
    return _label(f"{PREFIX}{name}")


def volume(name: str, volume: str) -> str:
    """Name a volume of a sidecar: two plugins may call theirs the same."""
    text = f"{container(name)}--{volume}"
    # With another `--` in it, the two could be taken apart in two ways.
    return _label(text, parts=f"{name}/{volume}" if text.count("--") > 1 else "")


def socket_volume(name: str) -> str:
    """Name the volume that holds the socket of one sidecar, and nothing of any other."""
    return _label(f"cnpg-plugins-socket-{name}")


def socket_directory(name: str) -> str:
    """Name the directory, in CloudNativePG's container and in the gate, of a sidecar's socket."""
    return f"{SOCKET_DIRECTORIES}/{socket_subdirectory(name)}"


def socket_subdirectory(name: str) -> str:
    """Name the same directory, relative to that of all sidecars."""
    return _label(name, length=_DIRECTORY_LENGTH)


def _label(text: str, parts: str = "", length: int = _LABEL_LENGTH) -> str:
    """Shorten a name to what a DNS label holds; a digest keeps long ones apart."""
    return shorten(text, length, parts)
