"""Labels that this operator sets or reads."""

from typing import Final

from cnpg_plugin_operator.names.resource import GROUP

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""Selects everything this operator created; watches filter by it."""

NAME: Final = "app.kubernetes.io/name"
"""The workload's name; on CloudNativePG's own Deployment it is `cloudnative-pg`."""

PLUGIN: Final = f"{GROUP}/name"
"""Name of the `CNPGPlugin` that a child belongs to; also the pod selector of its Deployment."""

NAMESPACE: Final = f"{GROUP}/namespace"
"""Namespace of the `CNPGPlugin` that a cluster-scoped child belongs to."""

ORPHANED: Final = f"{GROUP}/orphaned"
"""On what a deleted `CNPGPlugin` left running (`deletionPolicy: Orphan`): the next resource of its
name adopts it."""

CHAIN: Final = f"{GROUP}/chain"
"""Marks the namespace's shared certificate chain; its value is the part of the chain."""

OLM_OWNER: Final = "olm.owner"
"""Label that the Operator Lifecycle Manager sets on what a ClusterServiceVersion owns."""
