"""Generate the protobuf module of the handshake whenever the project is built or installed.

The generated code must never be older than the protobuf runtime allows, so it is made from the one
pinned grpcio-tools of `[build-system]` instead of being checked in.
"""

from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HANDSHAKE = Path("operator/cnpg_plugin_operator/handshake")
"""The only package that speaks gRPC, hence the home of the messages."""


class GenerateProtobuf(BuildHookInterface[Any]):
    """Runs the protobuf compiler before hatchling collects the files of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Write `identity_pb2.py` and its type stub beside `identity.proto`."""
        folder = Path(self.root) / HANDSHAKE
        arguments = ["protoc", f"-I{folder}", f"--python_out={folder}", f"--pyi_out={folder}"]
        if protoc.main([*arguments, "identity.proto"]) != 0:
            raise RuntimeError(f"protoc refused {folder / 'identity.proto'}")
