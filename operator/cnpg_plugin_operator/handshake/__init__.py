"""Proves a plugin over the channel that CloudNativePG will use. The only importer of gRPC.

A TLS check with the standard library reaches Go's verdict with the exact reason, then gRPC calls
the plugin as CloudNativePG does when it loads it. Transport errors and generated messages stay
inside.
"""

import os

# gRPC's C-core writes TLS errors to stderr past Python's logging and decides about it when it is
# loaded, hence here, where no module of this package can be imported before. Everything it would
# say comes back as the outcome of a handshake. An administrator's own setting wins.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
