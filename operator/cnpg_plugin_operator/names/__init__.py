"""Every name that other parties can see, by subject. Each name is defined once.

This package composes names and holds no other logic.
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
