"""The life of CNPG-I plugins for CloudNativePG, from one `CNPGPlugin` resource.

The folder tree is the system: `handlers` wake, `reconciler` conducts, `cluster`, `handshake` and
`pki` are the only places with I/O or keys, `decide` and `desired` are pure, `api` is what users
see.
"""

__all__: list[str] = []
