"""The Kubernetes API: reads become facts, writes are server-side applies.

The only importer of its client.
"""
