"""Secrets in a pass: their content, their owner, and when they were written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import read_recorded_time, read_time
from cnpg_plugin_operator.cluster import kinds, observe
from cnpg_plugin_operator.cluster.ownership import has_uid, owner_of
from cnpg_plugin_operator.decide.facts.plugin import PairFacts, Trust
from cnpg_plugin_operator.desired.drift import first_difference
from cnpg_plugin_operator.desired.objects import Object, complete_labels
from cnpg_plugin_operator.pki.reading import (
    AUTHORITIES,
    TLS_CERTIFICATE,
    read_certificates,
    read_pair,
)

CERT_MANAGER_MARKS: Final = "cert-manager.io/"
"""Prefix of the annotations by which cert-manager recognizes its Secrets."""


PUBLIC: Final = (
    TLS_CERTIFICATE,
    AUTHORITIES,
    names.children.TRUSTED_SERVERS,
    names.children.TRUSTED_CLIENTS,
)
"""The parts of a Secret that contain certificates."""

PRIVATE: Final = b"PRIVATE KEY"
"""Is in every PEM file with a key."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret, decoded."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    """The object that the API server returned."""
    pair: PairFacts | None = None
    """What was read of its pair before its keys were dropped; None where `data` is complete."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata."""
        found: Mapping[str, Any] = self.body["metadata"]
        return found

    @property
    def written_at(self) -> datetime | None:
        """When anything in it last changed, from the times of its field managers."""
        entries = self.metadata.get("managedFields") or []
        times = [read_time(entry.get("time")) for entry in entries]
        return max((moment for moment in times if moment is not None), default=None)

    @property
    def renew_requested_at(self) -> datetime | None:
        """When a user requested a renewal of this authority."""
        return read_time(self.annotations.get(names.annotations.RENEW))

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.metadata.get("annotations") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.metadata.get("labels") or {}


def read(body: Mapping[str, Any], pair: PairFacts | None = None) -> Secret:
    """Parse a Secret that the API server returned, or what is public of it."""
    data = observe.read_secret(body) or {}
    return Secret(name=body["metadata"]["name"], data=data, body=body, pair=pair)


def drop_keys(body: Mapping[str, Any]) -> tuple[dict[str, Any], PairFacts]:
    """Keep the certificates of a Secret, and what is to be known of its pair."""
    data = observe.read_secret(body) or {}
    public = {key: body["data"][key] for key in PUBLIC if key in data and PRIVATE not in data[key]}
    return {**body, "data": public}, read_pair(body["metadata"]["name"], data)


def find_owner(plugin: Plugin, secret: Secret) -> str | None:
    """Return the owner of a Secret for a plugin's certificates, None where the plugin may use it.

    `decide.acceptance.private_secrets` has already checked which of the users' Secrets are private.
    """
    if belongs_to(plugin, secret) or plugin.spec.tls.secrets is not None:
        return None
    return owner_of(secret.body)


def belongs_to(plugin: Plugin, secret: Secret) -> bool:
    """Whether the Secret was created for this resource: by its labels, its owner or its uid."""
    labels, body = secret.labels, secret.body
    managed = labels.get(names.labels.MANAGED_BY) == names.resource.OPERATOR
    labelled = managed and labels.get(names.labels.PLUGIN) == plugin.name
    return labelled or has_uid(plugin, body)


def read_trust(secret: Secret | None, now: datetime) -> Trust | None:
    """Read the Secret of trusted certificates; None where it is missing or empty."""
    if secret is None:
        return None
    servers = read_certificates(secret.data.get(names.children.TRUSTED_SERVERS, b""))
    clients = read_certificates(secret.data.get(names.children.TRUSTED_CLIENTS, b""))
    changed_at = read_recorded_time(secret.annotations.get(names.annotations.TRUST_CHANGED), now)
    return Trust(servers, clients, changed_at) if servers and clients else None


def find_lost_marks(desired: Object, live: Secret) -> dict[str, Any] | None:
    """Find what restores labels, owner and uid of a Secret; None where it has them."""
    wanted = desired["metadata"]
    uid = wanted["annotations"][names.annotations.UID]
    marks = {
        "labels": wanted["labels"],
        "annotations": {names.annotations.UID: uid},
        "ownerReferences": wanted["ownerReferences"],
    }
    owners = live.metadata.get("ownerReferences") or []
    others = [owner for owner in owners if owner["uid"] != uid]
    kept = [*others, *wanted["ownerReferences"]]
    if first_difference(marks, live.metadata) is None and len(kept) == len(owners):
        return None
    return {**marks, "ownerReferences": kept or None}


def find_given_marks(plugin: Plugin, live: Secret) -> dict[str, Any] | None:
    """Find what gives a Secret to cert-manager; None where the operator does not keep it.

    The two labels stay by which everything belongs to a resource: a Certificate asks for them, too.
    """
    if not has_uid(plugin, live.body):
        return None
    shared = (names.labels.MANAGED_BY, names.labels.PLUGIN)
    owners = live.metadata.get("ownerReferences") or []
    return {
        "labels": {key: None for key in complete_labels(plugin, {}) if key not in shared},
        "annotations": {names.annotations.UID: None},
        "ownerReferences": [owner for owner in owners if owner["uid"] != plugin.uid] or None,
    }


def find_lost_labels(desired: Object, live: Secret) -> dict[str, Any] | None:
    """Find what restores the labels of a Secret without an owner; None where it has them."""
    marks = {"labels": desired["metadata"]["labels"]}
    return marks if first_difference(marks, live.metadata) is not None else None


def find_cert_manager_marks(secret: Secret) -> dict[str, Any] | None:
    """Find what removes cert-manager's marks from a Secret; None where it has none."""
    marks = {
        key: None
        for key, value in secret.annotations.items()
        if key.startswith(CERT_MANAGER_MARKS) and value != names.resource.OPERATOR
    }
    owners = secret.metadata.get("ownerReferences") or []
    kept = [owner for owner in owners if owner.get("kind") != kinds.CERTIFICATE.kind]
    if not marks and kept == owners:
        return None
    return {"annotations": marks, "ownerReferences": kept or None}
