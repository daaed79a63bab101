"""CertificatesReady: whether both ends of the connection have certificates that work."""
