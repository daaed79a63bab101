"""Whose a token is, and what its user may do: asked of the API server, which stores neither.

The API server repeats the token in its answer. Nothing that leaves this module contains it.
"""

from collections.abc import Mapping
from typing import Any

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.cluster.client import Client
from cnpg_plugin_operator.cluster.kinds import SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW, Kind

_HIDDEN = "…"


class Reviewer:
    """Has the API server review requests to this program."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find_user(self, token: str) -> Mapping[str, Any] | None:
        """Return the user of a token; None where it is not valid. Raises `ClusterError`."""
        try:
            status = await self._ask(TOKEN_REVIEW, {"token": token})
        except errors.ClusterError as error:
            # The cause is dropped as well: it has the API server's whole answer.
            raise type(error)(str(error).replace(token, _HIDDEN)) from None
        return mapping(status.get("user")) if status.get("authenticated") is True else None

    async def may_get(self, user: Mapping[str, Any], path: str) -> bool:
        """Return whether a user may get a URL of this program. Raises `ClusterError`."""
        spec = {
            "user": user.get("username"),
            **{key: user[key] for key in ("uid", "groups", "extra") if key in user},
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        status = await self._ask(SUBJECT_ACCESS_REVIEW, spec)
        return status.get("allowed") is True

    async def _ask(self, kind: Kind, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, "spec": spec}
        return mapping((await self._client.create(kind, body)).get("status"))
