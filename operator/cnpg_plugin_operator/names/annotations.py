"""Annotations that this operator reads or writes: each docstring says on what, and its meaning."""

from typing import Final

from cnpg_plugin_operator.names.resource import GROUP

DESIRED: Final = f"{GROUP}/desired-hash"
"""Digest of what was applied. It differs when a field changed or is no longer wanted."""

UID: Final = f"{GROUP}/uid"
"""On every child: the uid of the `CNPGPlugin` that owns it. It identifies the owner even after the
owner reference or the labels were removed."""

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
CloudNativePG that does not re-register by itself and started earlier still uses the previous
endpoint."""

RESTARTED_AT: Final = f"{GROUP}/restarted-at"
"""On CloudNativePG's pod template: when a restart was requested (RFC 3339, UTC)."""

RESTARTED_FOR: Final = f"{GROUP}/restarted-for"
"""On CloudNativePG's pod template: the revisions the restart is for, as JSON `{"plugin":
"revision"}`. Pods inherit it, so a leader's annotations say which revisions it started with."""

RENEW: Final = f"{GROUP}/renew-requested-at"
"""Set by users (RFC 3339): the operator renews certificates that it issued before that time. On a
`CNPGPlugin` these are the plugin's two certificates, on an authority's Secret that authority."""

TRUST_CHANGED: Final = f"{GROUP}/trust-changed-at"
"""On the Secret of trusted certificates: when they last changed (RFC 3339, UTC)."""

RELOADED: Final = f"{GROUP}/reloaded-for"
"""On a plugin's pod template: the certificates its pods were last restarted for. The operator keeps
it, because removing it would restart the pods again."""

REFRESHED: Final = f"{GROUP}/refreshed-for"
"""On a plugin's pod: the certificates that the last refresh was for. Any change of a pod makes the
kubelet update its mounted Secrets at once, instead of within a minute or more."""

TOUCHED: Final = f"{GROUP}/touched"
"""On the Service: when and why it was changed again for the same revision, as JSON
`{"at": "time", "for": "why", "times": 1}`. Any change of the Service makes CloudNativePG register
it again."""

DISTURBED: Final = f"{GROUP}/disturbed-by"
"""On the Service: other Services with the plugin's name that were seen, with their uids and the
time. CloudNativePG keeps one entry per name: it may use theirs, or drop it once they are gone."""

SCALED_DOWN: Final = f"{GROUP}/scaled-down"
"""On the Deployment of a previous installation: that this operator scaled it to zero, and for what,
as JSON `{"at": "time", "for": "uid/generation", "replicas": 1, "restored": false}`."""

REPLACES: Final = f"{GROUP}/replaces"
"""On the Service: the revision that was announced before this one; absent on the first."""

SEEN_BY: Final = f"{GROUP}/seen-by"
"""On the Service of a plugin that becomes a sidecar: CloudNativePG's pods, comma-separated, that
may have seen its label before the label was removed."""

WITHDRAWN: Final = f"{GROUP}/withdrawn"
"""On CloudNativePG's Deployment: when plugins were withdrawn, as JSON `{"plugin name": "time"}`.
Some versions keep what they read of a plugin after its Service is deleted."""

ROLLED_AT: Final = f"{GROUP}/sidecars-rolled-at"
"""On CloudNativePG's Deployment: when it was last rolled out for sidecars (RFC 3339, UTC). Not in
the pod template, because it outlives the last sidecar."""

SIDECARS: Final = f"{GROUP}/sidecars"
"""On CloudNativePG's pod template: the sidecars in it, as JSON `{"resource": "revision"}`. Pods
inherit it, so each pod says which revisions it started with."""

APPROVE: Final = f"{GROUP}/approve"
"""On the resource: the change that a user approves where `upgradePolicy` is Manual. The message of
the condition Available contains the token."""

CERT_MANAGER_ISSUER: Final = "cert-manager.io/issuer-name"
"""cert-manager reads the issuer of a Secret from this annotation. It treats a Secret without it as
its own (1.21.2, `pkg/api/util/issuers.go`) and would not issue again when a plugin returns to
cert-manager, so the operator sets it on the pairs that it issues itself."""


def nudge(name: str) -> str:
    """Name the annotation on a Cluster with the plugin revision that the Cluster was nudged for."""
    return f"{GROUP}/nudged-{name}"
