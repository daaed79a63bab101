"""Performs handshakes over the channel that CloudNativePG will use. The only importer of gRPC.

A TLS check with the standard library reaches Go's verdict with its exact reason. Then gRPC calls
the plugin as CloudNativePG does when it loads the plugin. Transport errors and generated messages
stay inside.
"""

import os

# gRPC's C-core writes TLS errors to stderr, bypassing Python's logging, and reads this setting when
# it is loaded. So it is set here, before any module of this package is imported. The outcome of a
# handshake contains all of it. An administrator's own setting takes precedence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
