"""`kubectl cnpg-plugin`: what a person on call needs, from outside the cluster.

Everything goes through `kubectl` itself, with its kubeconfig, its ways to log in and its rights; so
`status` loads no client. What needs the cluster's network or the operator's settings runs the
operator's own commands in its pod. Nothing here decides anything about a plugin.
"""
