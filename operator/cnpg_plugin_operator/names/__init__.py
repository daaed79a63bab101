"""Every name that other parties can see, by subject: each is found by searching once.

No logic beyond the composition of names.
"""

from cnpg_plugin_operator.names import (
    annotations,
    children,
    cnpg,
    labels,
    managers,
    resource,
    sidecars,
)

__all__ = ["annotations", "children", "cnpg", "labels", "managers", "resource", "sidecars"]
