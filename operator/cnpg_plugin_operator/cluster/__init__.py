"""The Kubernetes API: the only importer of its client. Reads become facts, writes are server-side applies."""
