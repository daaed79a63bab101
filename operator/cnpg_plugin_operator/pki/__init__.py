"""Keys and certificates: reading and issuing them. The only importer of `cryptography`.

A private key leaves this package only as the `tls.key` of an `IssuedPair`, to be stored in a
Secret: no exception, message or representation contains a byte of one.
"""
