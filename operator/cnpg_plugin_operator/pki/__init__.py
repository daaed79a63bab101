"""Keys and certificates: reading and issuing them. The only importer of `cryptography`.

A private key leaves this package only as the `tls.key` of an `IssuedPair`, on its way to a Secret:
no exception, message or representation that comes out holds a byte of one.
"""
