"""The rights that an account has, and those of them that it used, according to the API server.

The audit log names the binding that allowed each request, so a right that two roles grant is unused
in one of them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.e2e.api import Api

RBAC: Final = "rbac.authorization.k8s.io"
_DECISION: Final = "authorization.k8s.io/decision"
_REASON: Final = "authorization.k8s.io/reason"
_BINDING: Final = re.compile(r'allowed by ((?:Cluster)?RoleBinding "[^"]+")')
_CREATED: Final = 201
_BOUND: Final = {"rolebindings": "roles", "clusterrolebindings": "clusterroles"}


@dataclass(frozen=True, order=True)
class Right:
    """A verb for a resource of an API group; a subresource follows a slash."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        name, slash, part = self.resource.partition("/")
        return f"{self.verb} {name}{'.' if self.group else ''}{self.group}{slash}{part}"


@dataclass(frozen=True, order=True)
class Granted:
    """A right, and the binding that gives it."""

    right: Right
    binding: str
    """As the audit log writes it."""

    def __str__(self) -> str:
        return f"{self.right} ({self.binding})"

    def covers(self, refusal: "Refusal") -> bool:
        """Whether this allows what was refused: then the right was removed for a while."""
        everywhere = self.binding.startswith("Cluster")
        here = everywhere or self.binding.endswith(f'/{refusal.namespace}"')
        return here and self.right == refusal.right


@dataclass(frozen=True, order=True)
class Refusal:
    """A right that was needed but not granted."""

    right: Right
    namespace: str

    def __str__(self) -> str:
        return f"{self.right} in {self.namespace or 'the cluster'}"


@dataclass(frozen=True)
class Uses:
    """What an account did with its rights, and without them."""

    granted: frozenset[Granted]
    refused: frozenset[Refusal]

    def find_unused(self, granted: Iterable[Granted]) -> set[Granted]:
        """The granted rights that were not used.

        The API server checks `bind` while it creates a binding, and no log says which role granted
        it.
        """
        bound = {use.right for use in self.granted if use.right.verb == "bind"}
        return {each for each in granted if each not in self.granted and each.right not in bound}


def expand(rules: Iterable[Mapping[str, Any]]) -> Iterator[Right]:
    """Each single right of a role's rules."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb)


def read_granted(api: Api, namespace: str, account: str) -> set[Granted]:
    """The rights that an account gets from its bindings, by the roles in the cluster."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    root = f"/apis/{RBAC}/v1"
    found = set()
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in api.list(f"{root}/{kind.lower()}s"):
            if subject not in binding.get("subjects", []):
                continue
            metadata, role = binding["metadata"], binding["roleRef"]
            place = f"/namespaces/{metadata['namespace']}" if role["kind"] == "Role" else ""
            rules = api.get(f"{root}{place}/{role['kind'].lower()}s/{role['name']}")["rules"]
            name = "/".join(filter(None, (metadata["name"], metadata.get("namespace"))))
            found |= {Granted(right, f'{kind} "{name}"') for right in expand(rules)}
    return found


def read_uses(log: Path, user: str, since: int) -> Uses:
    """What a user did after a position in the audit log."""
    granted: set[Granted] = set()
    refused: set[Refusal] = set()
    with log.open("rb") as file:
        file.seek(since)
        for line in file:
            if user.encode() not in line or not line.endswith(b"\n"):
                continue
            entry = json.loads(line)
            if entry["user"]["username"] != user or "objectRef" not in entry:
                continue
            annotations = entry.get("annotations", {})
            rights = set(_rights_of(entry))
            if annotations.get(_DECISION) == "forbid":
                namespace = entry["objectRef"].get("namespace", "")
                refused |= {Refusal(right, namespace) for right in rights}
            elif found := _BINDING.search(annotations.get(_REASON, "")):
                granted |= {Granted(right, found[1]) for right in rights}
    return Uses(frozenset(granted), frozenset(refused))


def _rights_of(entry: Mapping[str, Any]) -> Iterator[Right]:
    """The right of a request, and those that the API server checks while it performs it."""
    target, verb = entry["objectRef"], entry["verb"]
    group, resource = target.get("apiGroup", ""), target["resource"]
    name = "/".join(filter(None, (resource, target.get("subresource"))))
    yield Right(group, name, verb)
    code = entry.get("responseStatus", {}).get("code", 0)
    if verb == "patch" and code == _CREATED:
        yield Right(group, name, "create")
    if group == RBAC and resource in _BOUND and code == _CREATED:
        yield Right(group, _BOUND[resource], "bind")
