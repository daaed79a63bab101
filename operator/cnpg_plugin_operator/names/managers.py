"""Field managers of server-side apply.

Each owns one set of fields. An apply drops the fields that it no longer lists, so two concerns
never share a manager.
"""

from typing import Final

from cnpg_plugin_operator.names.resource import OPERATOR

CHILDREN: Final = OPERATOR
"""Owns the children of a resource."""

FINALIZER: Final = f"{OPERATOR}-finalizer"
"""Owns the finalizer on the resource."""

STATUS: Final = f"{OPERATOR}-status"
"""Owns the status of the resource."""

RESTART: Final = f"{OPERATOR}-restart"
"""Owns the restart annotations on the pod template of CloudNativePG's Deployment, nothing else."""

NAMESPACE: Final = f"{OPERATOR}-namespace"
"""Owns, in the status of resources, what their namespace shares: the last restart of CloudNativePG
and the records of sidecars."""

RECORDS: Final = f"{OPERATOR}-notes"
"""Owns the annotations on a Service that record progress while the rest of it must not change."""

SIDECARS: Final = f"{OPERATOR}-sidecars"
"""Owns all sidecars in CloudNativePG's Deployment and what they need, nothing else."""
