"""A pod that no NetworkPolicy admits, to see which ports of a plugin it reaches all the same."""

from typing import Final

from tests.support.e2e.installation import IMAGE
from tests.support.e2e.plugins import Plugins
from tests.support.resources import NAMESPACE, Manifest

_NAME: Final = "stranger"
_WHERE: Final = "--namespace=default"
_SECONDS: Final = 2
_CONNECT: Final = (
    f"import socket, sys; s = socket.socket(); s.settimeout({_SECONDS}); "
    "print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
)
"""Prints 0 where the connection succeeds, else the number of the error."""

_POD: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": _NAME, "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                # The operator's image has Python, and is on the node.
                "name": _NAME,
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "command": ["python3", "-c", "import time; time.sleep(3600)"],
            }
        ],
    },
}


def start_stranger(plugins: Plugins) -> None:
    """Start the pod; it is deleted with the other objects of the test."""
    plugins.apply(_POD)
    plugins.kubectl("wait", f"pod/{_NAME}", _WHERE, "--for=condition=Ready", "--timeout=120s")


def can_connect(plugins: Plugins, service: str, port: int) -> bool:
    """Whether the pod gets a connection to a port of a Service beside CloudNativePG."""
    program = ("python3", "-c", _CONNECT, f"{service}.{NAMESPACE}.svc", str(port))
    return plugins.kubectl("exec", _NAME, _WHERE, "--", *program).strip() == "0"
