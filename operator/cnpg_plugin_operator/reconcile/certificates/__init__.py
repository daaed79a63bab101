"""CertificatesReady: provides the certificates of a plugin, one module per provider."""
