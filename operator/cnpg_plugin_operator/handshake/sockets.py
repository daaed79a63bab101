"""The handshake over a unix socket: what CloudNativePG would find in its own pod, as a value.

Exists for plugins that run beside CloudNativePG. The socket is connected to once with the standard
library before gRPC is asked: gRPC says "unavailable" of everything, the system says exactly what is
wrong. Loads nothing that reads certificates or talks to Kubernetes, for CloudNativePG waits for it.
"""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts import HandshakeOutcome

from .channels import open_socket
from .errors import HandshakeError
from .identity import Line, identify
from .outcome import conclude, welcome
from .progress import Progress


class SocketHandshaker:
    """Performs handshakes over unix sockets; keeps nothing between them."""

    async def shake(
        self,
        path: Path,
        plugin_name: str,
        timeout: float,  # noqa: ASYNC109 - the caller's budget for all steps, kept by one timer
    ) -> HandshakeOutcome:
        """Prove the plugin within so many seconds. Raises nothing but `CancelledError`."""
        return await conclude(f"socket {path}", timeout, partial(_shake, path, plugin_name))


def find_sockets(directory: Path) -> frozenset[str] | None:
    """Name the sockets that lie in a directory, None where it cannot be looked into."""
    try:
        return frozenset(path.name for path in directory.iterdir() if path.is_socket())
    except OSError:
        return None


async def _shake(path: Path, plugin_name: str, progress: Progress) -> HandshakeOutcome:
    """Connect, then talk."""
    where = f"socket {path}"
    progress.waiting(Reason.UNREACHABLE, f"{where} did not accept a connection")
    await _connect(path)
    line = Line(open_socket(path), where, partial(_unusable, where))
    return welcome(await identify(line, plugin_name, progress), where)


async def _connect(path: Path) -> None:
    """Find out whether a connection can be made at all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError as error:
            raise _unconnected(path, error) from error


def _unconnected(path: Path, error: OSError) -> HandshakeError:
    """Say why nobody can be talked to, and what to do."""
    if isinstance(error, FileNotFoundError):
        return HandshakeError(Reason.SOCKET_MISSING, f"socket {path} is not there.")
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
            "is no socket, but CloudNativePG takes every file beside the plugins' sockets for "
            "one. Remove it."
        )
    else:
        problem = f"cannot be connected to: {_system(error)}."
    return HandshakeError(Reason.UNREACHABLE, f"socket {path} {problem}")


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
