"""Keys and certificates: reading what Secrets hold. The only importer of `cryptography`.

Private keys enter functions of this package and never leave them: no exception, message or value
that comes out holds a byte of one.
"""
