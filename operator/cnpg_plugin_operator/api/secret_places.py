"""Where the spec of a Pod, or any other object, names Secrets: found by the names of the fields.

A list of places would never be complete: a dozen kinds of volumes refer to a Secret, and CSI
drivers and issuers have fields of their own. All of them use similar field names. The content is
arbitrary, and as deep as the API server allows, so nothing here recurses.
"""

from collections.abc import Iterator, Mapping
from typing import Final

EXCEPTED: Final = "imagePullSecrets"
"""Only the kubelet reads these, to pull images; no container sees them."""

PLACE_LENGTH: Final = 200
"""Maximum characters of a reported place."""

_NAMES: Final = ("secretname",)
"""Suffixes of fields that hold a name: `secret.secretName`, `azureFile.secretName`."""

_REFERENCES: Final = ("secretref", "secretkeyref", "credentialsref")
"""Suffixes of fields that hold an object with a name: `envFrom[].secretRef`,
`csi.nodePublishSecretRef`, `acme.privateKeySecretRef`, `venafi.tpp.credentialsRef`."""

_SECRET: Final = "secret"  # noqa: S105 - the name of a field
"""`projected.sources[].secret` holds an object with a name."""


def find_secrets(tree: object) -> Iterator[tuple[str, str]]:
    """Find the Secrets that part of an object names: the place and the name of each."""
    pending: list[tuple[str, object]] = [("", tree)]
    while pending:
        path, part = pending.pop()
        inner: list[tuple[str, object]] = []
        if isinstance(part, Mapping):
            for key, value in part.items():
                if key == EXCEPTED:
                    continue
                place = _extend(path, f".{key}" if path else str(key))
                if name := _name_at(str(key), value):
                    yield place, name
                inner.append((place, value))
            if part.get("kind") == "Secret" and isinstance(part.get("name"), str):
                yield path, part["name"]
        elif isinstance(part, list | tuple):
            inner = [
                (_extend(path, f"[{_label(index, item)}]"), item) for index, item in enumerate(part)
            ]
        pending.extend(reversed(inner))


def _extend(path: str, part: str) -> str:
    """Extend a place up to the maximum length."""
    return path + part if len(path) + len(part) <= PLACE_LENGTH else path


def _plain(key: str) -> str:
    """Normalize a field's name: annotations and CSI drivers use hyphens."""
    return key.lower().replace("-", "").replace("_", "")


def _name_at(key: str, value: object) -> str:
    """Give the name in a field, or nothing; the API server refuses values that are not text."""
    own = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(own, str):
        return ""
    field = _plain(key)
    fits = field.endswith(_NAMES) if own is value else field == _SECRET
    return own if fits or field.endswith(_REFERENCES) else ""


def _label(index: int, item: object) -> str:
    """Identify an item of a list by its name where it has one, else by its index."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) and name else str(index)
