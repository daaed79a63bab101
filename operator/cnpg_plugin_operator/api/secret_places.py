"""Where a Pod's spec, or any other object, names Secrets: found by how the fields are called.

Exists because a list of places is never complete: a dozen kinds of volumes refer to a Secret, and
CSI drivers and issuers have fields of their own. All of them call the field alike. The content may
be anything, and as deep as the API server lets it be, so nothing here recurses.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

EXCEPTED: Final = "imagePullSecrets"
"""Read by the kubelet only, to pull images; no container sees them."""

PLACE_LENGTH: Final = 200
"""Characters of a place that are told."""

_NAMES: Final = ("secretname",)
"""Ends of the fields that hold a name: `secret.secretName`, `azureFile.secretName`."""

_REFERENCES: Final = ("secretref", "secretkeyref", "credentialsref")
"""Ends of the fields that hold an object with a name: `envFrom[].secretRef`,
`csi.nodePublishSecretRef`, `acme.privateKeySecretRef`, `venafi.tpp.credentialsRef`."""

_SECRET: Final = "secret"  # noqa: S105 - the name of a field
"""`projected.sources[].secret` holds an object with a name."""


def find_secrets(tree: object) -> Iterator[tuple[str, str]]:
    """Find the Secrets that a part of an object names: the place of each, and its name."""
    pending: list[tuple[str, object]] = [("", tree)]
    while pending:
        path, part = pending.pop()
        inner: list[tuple[str, object]] = []
        if isinstance(part, Mapping):
            for key, value in part.items():
                if key == EXCEPTED:
                    continue
                place = _extend(path, f".{key}" if path else str(key))
                yield from ((place, name) for name in _names_at(_plain(str(key)), value))
                inner.append((place, value))
            if part.get("kind") == "Secret" and isinstance(part.get("name"), str):
                yield path, part["name"]
        elif isinstance(part, list | tuple):
            inner = [
                (_extend(path, f"[{_label(index, item)}]"), item) for index, item in enumerate(part)
            ]
        pending.extend(reversed(inner))


def _extend(path: str, part: str) -> str:
    """Add to a place; beyond what a person would read, it stays as it is."""
    return path + part if len(path) + len(part) <= PLACE_LENGTH else path


def _plain(key: str) -> str:
    """Write a field's name in one way: annotations and CSI drivers have hyphens in it."""
    return key.lower().replace("-", "").replace("_", "")


def _names_at(key: str, value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON of any shape
    """Give what a field names; what is no text names nothing, and the API server refuses it."""
    if isinstance(value, Mapping):
        name = value.get("name")
        if isinstance(name, str) and name and (key == _SECRET or key.endswith(_REFERENCES)):
            yield name
    elif isinstance(value, str) and value and key.endswith((*_NAMES, *_REFERENCES)):
        yield value


def _label(index: int, item: object) -> str:
    """Tell an item of a list by its name, where it has one."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) and name else str(index)
