"""The handshake over a unix socket: what CloudNativePG would find in its own pod, as a value.

It is for plugins that run beside CloudNativePG. It first connects with the standard library: gRPC
reports "unavailable" for every failure, the system reports the exact cause. It loads nothing that
parses certificates or talks to Kubernetes, because CloudNativePG waits for it to start.
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
from .outcome import conclude, succeed
from .progress import HandshakeError, Progress


class SocketHandshaker:
    """Performs handshakes over unix sockets; has no state."""

    async def shake(
        self,
        path: Path,
        plugin_name: str,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
        shown: Path | None = None,
    ) -> HandshakeOutcome:
        """Perform one handshake within the timeout. Raises nothing but `CancelledError`.

        Messages call the socket `shown`: the plugin itself may see it at another path.
        """
        seen = shown or path
        return await conclude(f"socket {seen}", timeout, partial(_shake, path, seen, plugin_name))


def find_sockets(directory: Path) -> frozenset[str] | None:
    """Return the names of the sockets in a directory, None where it cannot be read."""
    try:
        return frozenset(path.name for path in directory.iterdir() if path.is_socket())
    except OSError:
        return None


def link_sockets(directory: Path, sockets: Mapping[str, Path]) -> dict[str, str]:
    """Make the directory contain one link for each of these sockets, by name, and nothing else.

    A target that is not a socket gets no link: a link of the plugin could point to another plugin's
    socket. Correct links of an earlier run stay. Returns the system's errors, by name.
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
    """Point a link to a socket, or remove the link where there is no socket."""
    there = stat.S_ISSOCK(target.lstat().st_mode) if os.path.lexists(target) else False
    if there and link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    if there:
        link.symlink_to(target)


async def _shake(path: Path, shown: Path, plugin_name: str, progress: Progress) -> HandshakeOutcome:
    """Connect, then call the plugin."""
    where = f"socket {shown}"
    progress.waiting(Reason.UNREACHABLE, f"{where} did not accept a connection")
    await _connect(path, shown)
    line = Line(open_socket(path), where, partial(_unusable, where))
    return succeed(await identify(line, plugin_name, progress), where)


async def _connect(path: Path, shown: Path) -> None:
    """Check whether a connection is possible at all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError as error:
            raise _unconnected(path, shown, error) from error


def _unconnected(path: Path, shown: Path, error: OSError) -> HandshakeError:
    """Explain why a connection is impossible, and what to do."""
    if isinstance(error, FileNotFoundError):
        return HandshakeError(Reason.SOCKET_MISSING, f"socket {shown} does not exist.")
    if isinstance(error, PermissionError):
        problem = (
            "refuses the connection (permission denied): run the plugin as the same user as "
            "CloudNativePG's manager."
        )
    elif isinstance(error, ConnectionRefusedError) and path.is_socket():
        problem = (
            "exists, but nothing listens on it: the plugin has exited, or is starting again. See "
            "its log."
        )
    elif isinstance(error, ConnectionRefusedError):
        problem = (
            "is not a socket: the plugin, or another writer in its directory, created a file of "
            "that name. CloudNativePG does not see it."
        )
    else:
        problem = f"cannot be connected to: {_system(error)}."
    return HandshakeError(Reason.UNREACHABLE, f"socket {shown} {problem}")


def _unusable(where: str, status: str) -> HandshakeError:
    """Explain a connection that was accepted but that the first call cannot use."""
    return HandshakeError(
        Reason.NO_ANSWER,
        f"{where} accepts connections, but did not answer the first call: {status}. The plugin "
        "must serve gRPC without TLS there; see its log.",
    )


def _system(error: OSError) -> str:
    """Return the system's message for an error."""
    return os.strerror(error.errno) if error.errno is not None else str(error)
