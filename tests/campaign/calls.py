"""The operator's requests as the proxy sees them, and the positions by which plans name them.

A position says what a request is about and which of its kind it is since the plan began, so that it
stays the same where other requests come earlier or later: `patch-services-p-2` is the second patch
of Service p.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

WRITES: Final = frozenset({"create", "update", "patch", "delete"})

_VERBS: Final = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}

_PATH: Final = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_CHANCE: Final = re.compile(r"(-[bcdf-hj-np-tv-xz2456789]{6,10}-[bcdf-hj-np-tv-xz2456789]{5})$")
"""The end of a pod's name, which differs in each run."""


@dataclass
class Call:
    """One request."""

    at: float
    verb: str
    """As in RBAC rules."""
    resource: str
    """With its subresource."""
    name: str
    position: str = ""
    code: int = 0
    """The status that the operator got; 0 where it got none."""

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES

    @property
    def kind(self) -> str:
        """What the position is a number of."""
        parts = (self.verb, self.resource.replace("/", "."), _CHANCE.sub("", self.name))
        return "-".join(part for part in parts if part)

    def __str__(self) -> str:
        refused = f" ({self.code})" if self.code >= HTTPStatus.BAD_REQUEST or not self.code else ""
        return f"{self.position}{refused}"


def read_call(at: float, method: str, path: str, query: str, body: bytes) -> Call:
    """Say what a request is about."""
    found = _PATH.match(path)
    if found is None:
        return Call(at, _VERBS.get(method, method.lower()), path, "")
    name = found["name"] or ""
    resource = "/".join(part for part in (found["plural"], found["sub"]) if part)
    verb = _VERBS.get(method, method.lower())
    if verb == "get" and not name:
        verb = "watch" if "watch=" in query else "list"
    if resource == "events" and verb == "create":
        name = str(json.loads(body).get("reason", ""))
    return Call(at, verb, resource, name)
