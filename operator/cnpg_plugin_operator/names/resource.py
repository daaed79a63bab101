"""The resource type and this program, as others see them."""

from typing import Final

GROUP: Final = "cnpgplugin.dev"
"""API group of the resource."""

VERSION: Final = "v1beta1"
"""The served and stored version of the resource."""

KIND: Final = "CNPGPlugin"
"""Kind of the resource."""

PLURAL: Final = "cnpgplugins"
"""Plural of the resource, as in URLs."""

API_VERSION: Final = f"{GROUP}/{VERSION}"
"""`apiVersion` of the resource."""

OPERATOR: Final = "cnpg-plugin-operator"
"""This program: the value of `app.kubernetes.io/managed-by` and the reporter of Events."""

RUNBOOKS: Final = f"https://{GROUP}/runbooks/"
"""The page of the documentation with a section for each reason."""

FINALIZER: Final = f"{GROUP}/finalizer"
"""Keeps a deleted resource until its Service is withdrawn, so that the operator sees it."""
