"""Annotations that this operator writes, one docstring each: on what, and what it says."""

from typing import Final

from cnpg_plugin_operator.names.resource import GROUP

DESIRED: Final = f"{GROUP}/desired-hash"
"""Digest of what was applied: a difference means a field was changed or is no longer wanted."""

UID: Final = f"{GROUP}/uid"
"""On every child: the uid of the `CNPGPlugin` that it was made for. It says whose the child is,
also after its owner reference or its labels were removed."""

REVISION: Final = f"{GROUP}/revision"
"""On the Service: the plugin revision that was announced to CloudNativePG. Changing it also makes
CloudNativePG rebuild its connection (1.24.4, 1.25.2 and newer react to any change of the
Service)."""

ENDPOINT: Final = f"{GROUP}/endpoint-hash"
"""On the Service: digest of what CloudNativePG dials (port, Secrets, server name, certificates)."""

ANNOUNCED_AT: Final = f"{GROUP}/announced-at"
"""On the Service: when the revision was announced (RFC 3339, UTC)."""

CHANGED_AT: Final = f"{GROUP}/changed-at"
"""On the Service: when what CloudNativePG dials changed after the first announcement. A
CloudNativePG that does not re-register by itself and is older than this still uses the former
endpoint."""

RESTARTED_AT: Final = f"{GROUP}/restarted-at"
"""On CloudNativePG's pod template: when a restart was asked for (RFC 3339, UTC)."""

RESTARTED_FOR: Final = f"{GROUP}/restarted-for"
"""On CloudNativePG's pod template: the revisions the restart is for, as JSON `{"plugin":
"revision"}`. Pods inherit it, so a leader's own annotations say which revisions it started with."""

RENEW: Final = f"{GROUP}/renew-requested-at"
"""Set by people (RFC 3339): certificates that this operator issued before that moment are renewed.
On a `CNPGPlugin` it means the plugin's own two, on the Secret of an authority that authority."""

TRUST_CHANGED: Final = f"{GROUP}/trust-changed-at"
"""On the Secret of trusted certificates: when they last changed (RFC 3339, UTC)."""

RELOADED: Final = f"{GROUP}/reloaded-for"
"""On a plugin's pod template: the certificates its pods were last restarted for. Kept from then on,
for taking it away would restart them again."""

REFRESHED: Final = f"{GROUP}/refreshed-for"
"""On a plugin's pod: the certificates it was last told of. Any change of a pod makes the kubelet
bring its mounted Secrets up to date at once, instead of within a minute or more."""

TOUCHED: Final = f"{GROUP}/touched"
"""On the Service: when and why it was changed once more for the same revision, as JSON
`{"at": "time", "for": "why", "times": 1}`. Any change of the Service makes CloudNativePG register
it again."""

DISTURBED: Final = f"{GROUP}/disturbed-by"
"""On the Service: other Services with the plugin's name that were seen, with their uids and the
time. CloudNativePG keeps one entry for a name and may use theirs, or none, once they are gone."""

REPLACES: Final = f"{GROUP}/replaces"
"""On the Service: the revision that was announced before this one; absent on the first."""

SEEN_BY: Final = f"{GROUP}/seen-by"
"""On the Service of a plugin that becomes a sidecar: CloudNativePG's pods, comma-separated, that
may have seen its label before it was taken off."""

WITHDRAWN: Final = f"{GROUP}/withdrawn"
"""On CloudNativePG's Deployment: when plugins were withdrawn, as JSON `{"plugin name": "time"}`.
Versions that keep what they read of a plugin keep it beyond the end of its Service."""

ROLLED_AT: Final = f"{GROUP}/sidecars-rolled-at"
"""On CloudNativePG's Deployment: when it was last rolled for sidecars (RFC 3339, UTC). Not in the
pod template, for it stays when the last sidecar goes."""

SIDECARS: Final = f"{GROUP}/sidecars"
"""On CloudNativePG's pod template: the sidecars in it, as JSON `{"resource": "revision"}`. Pods
inherit it, so each says which revisions it was started with."""

APPROVE: Final = f"{GROUP}/approve"
"""On the resource: the change that a person approves where `upgradePolicy` is Manual; the token is
in the message of the condition Available."""

CERT_MANAGER_ISSUER: Final = "cert-manager.io/issuer-name"
"""By this annotation cert-manager knows who issued what is in a Secret. It takes a Secret without
it for its own (1.21.2, `pkg/api/util/issuers.go`), and would not issue anew when a plugin comes
back to it; so the operator's own pairs say that the operator issued them."""


def nudge(name: str) -> str:
    """Name the annotation on a Cluster that holds the revision of a plugin it was nudged for."""
    return f"{GROUP}/nudged-{name}"
