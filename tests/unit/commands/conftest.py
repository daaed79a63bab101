"""Imports the package under test before gRPC, as the program does: it keeps gRPC off stderr."""

import cnpg_plugin_operator.handshake  # noqa: F401 - imported for its effect, before grpc
