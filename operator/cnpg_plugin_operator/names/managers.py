"""Field managers of server-side apply.

Each owns one set of fields; an apply drops what it no longer lists, so two concerns never share
one.
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

NOTES: Final = f"{OPERATOR}-notes"
"""Owns what is noted on a Service while nothing else of it may be changed."""

SIDECARS: Final = f"{OPERATOR}-sidecars"
"""Owns all sidecars in CloudNativePG's Deployment with what they need, nothing else."""
