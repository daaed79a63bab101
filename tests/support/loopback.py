"""Servers of tests on this machine's loopback: where they listen, and how a client finds one."""

import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"

_KUBECONFIG: Final = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "http://%s:%d"}}]
users: [{name: test, user: {token: none}}]
"""


def free_port() -> int:
    """A port that is free on this machine."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def write_kubeconfig(directory: Path, port: int) -> Path:
    """Write how a client finds an API server at a port."""
    file = directory / "kubeconfig"
    file.write_text(_KUBECONFIG % (HOST, port))
    return file
