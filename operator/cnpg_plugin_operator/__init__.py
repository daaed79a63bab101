"""The life of CNPG-I plugins for CloudNativePG, from one `CNPGPlugin` resource.

The folder tree is the system: `watch` wakes, `reconcile` runs the passes, `cluster`, `handshake`
and `pki` are the only places with I/O or keys, `decide` and `desired` are pure, `api` is what users
see. Inside them, folders are named after the conditions of the resource.
"""

__all__: list[str] = []
