"""The handshake over a unix socket: what CloudNativePG would find in its own pod, as a value.

Exists for plugins that run beside CloudNativePG. The socket is connected to once with the standard
library before gRPC is asked: gRPC says "unavailable" of everything, the system says exactly what is
wrong. Loads nothing that reads certificates or talks to Kubernetes, for CloudNativePG waits for it.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome

from .channels import open_socket
from .identity import Line, identify
from .outcome import conclude, welcome
from .progress import HandshakeError, Progress


class SocketHandshaker:
    """Performs handshakes over unix sockets; keeps nothing between them."""

    async def shake(
        self,
        path: Path,
        plugin_name: str,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
        shown: Path | None = None,
    ) -> HandshakeOutcome:
        """Prove the plugin within so many seconds. Raises nothing but `CancelledError`.

        Messages name the socket as `shown`: the plugin itself may see it at another path.
        """
        seen = shown or path
        return await conclude(f"socket {seen}", timeout, partial(_shake, path, seen, plugin_name))


def find_sockets(directory: Path) -> frozenset[str] | None:
    """Name the sockets that lie in a directory, None where it cannot be looked into."""
    try:
        return frozenset(path.name for path in directory.iterdir() if path.is_socket())
    except OSError:
        return None


def link_sockets(directory: Path, sockets: Mapping[str, Path]) -> dict[str, str]:
    """Make the directory hold one link to each of these sockets, by name, and nothing else.

    What is no socket gets no link: a link of the plugin's own could lead to another one's. Links of
    an earlier run that are right stay as they are. Returns what could not be done, in the system's
    words.
    """
    failed: dict[str, str] = {}
    try:
        unknown = [path for path in directory.iterdir() if path.name not in sockets]
    except OSError as error:
        return dict.fromkeys(sockets, _system(error))
    for path in unknown:
        with contextlib.suppress(OSError):
            path.unlink()
    for name, target in sockets.items():
        try:
            _link(directory / name, target)
        except OSError as error:
            failed[name] = _system(error)
    return failed


def _link(link: Path, target: Path) -> None:
    """Have a link lead to a socket, or not be there."""
    there = stat.S_ISSOCK(target.lstat().st_mode) if os.path.lexists(target) else False
    if there and link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    if there:
        link.symlink_to(target)


async def _shake(path: Path, shown: Path, plugin_name: str, progress: Progress) -> HandshakeOutcome:
    """Connect, then talk."""
    where = f"socket {shown}"
    progress.waiting(Reason.UNREACHABLE, f"{where} did not accept a connection")
    await _connect(path, shown)
    line = Line(open_socket(path), where, partial(_unusable, where))
    return welcome(await identify(line, plugin_name, progress), where)


async def _connect(path: Path, shown: Path) -> None:
    """Find out whether a connection can be made at all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError as error:
            raise _unconnected(path, shown, error) from error


def _unconnected(path: Path, shown: Path, error: OSError) -> HandshakeError:
    """Say why the plugin cannot be connected to, and what to do."""
    if isinstance(error, FileNotFoundError):
        return HandshakeError(Reason.SOCKET_MISSING, f"socket {shown} is not there.")
    if isinstance(error, PermissionError):
        problem = (
            "cannot be connected to (permission denied): the plugin has to run as the same user "
            "as CloudNativePG's manager."
        )
    elif isinstance(error, ConnectionRefusedError) and path.is_socket():
        problem = (
            "is there, but nobody listens on it: the plugin has ended, or is starting again. Its "
            "log may say why."
        )
    elif isinstance(error, ConnectionRefusedError):
        problem = (
            "is no socket: the plugin, or whatever writes into its directory, made a file of "
            "that name. CloudNativePG does not get to see it."
        )
    else:
        problem = f"cannot be connected to: {_system(error)}."
    return HandshakeError(Reason.UNREACHABLE, f"socket {shown} {problem}")


def _unusable(where: str, status: str) -> HandshakeError:
    """Explain a connection that was accepted and that the first call cannot use."""
    return HandshakeError(
        Reason.NO_ANSWER,
        f"{where} accepts connections, but the first call got no answer: {status}. Does the "
        "plugin serve gRPC without TLS there? Its log may say why.",
    )


def _system(error: OSError) -> str:
    """Return the system's words for an error."""
    return os.strerror(error.errno) if error.errno is not None else str(error)
