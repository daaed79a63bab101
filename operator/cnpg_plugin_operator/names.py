"""Every name that other parties can see: API group, labels, annotations, managers, child objects.

One home, so that a name is found by searching once and never spelled twice. No logic beyond the
composition of names.
"""

import hashlib
from typing import Final

_LABEL_LENGTH: Final = 63
_NAME_LENGTH: Final = 253
_DIGEST_LENGTH: Final = 8

GROUP: Final = "cnpgplugin.dev"
"""API group of the resource."""

VERSION: Final = "v1alpha1"
"""The served and stored version of the resource."""

KIND: Final = "CNPGPlugin"
"""Kind of the resource."""

PLURAL: Final = "cnpgplugins"
"""Plural of the resource, as in URLs."""

API_VERSION: Final = f"{GROUP}/{VERSION}"
"""`apiVersion` of the resource."""

OPERATOR: Final = "cnpg-plugin-operator"
"""This program, as the value of `app.kubernetes.io/managed-by` and as the reporter of events."""

FINALIZER: Final = f"{GROUP}/finalizer"
"""Holds a deleted resource until its Service is withdrawn, so that no deletion goes unseen."""

# Field managers of server-side apply. Each owns one set of fields; an apply drops what it no longer
# lists, so two concerns must never share one.
MANAGER: Final = OPERATOR
"""Owns the children of a resource."""

FINALIZER_MANAGER: Final = f"{OPERATOR}-finalizer"
"""Owns the finalizer on the resource."""

STATUS_MANAGER: Final = f"{OPERATOR}-status"
"""Owns the status of the resource."""

RESTART_MANAGER: Final = f"{OPERATOR}-restart"
"""Owns the restart annotations on the pod template of CloudNativePG's Deployment, nothing else."""

NOTE_MANAGER: Final = f"{OPERATOR}-notes"
"""Owns what is noted on a Service while nothing else of it may be changed."""

SIDECAR_MANAGER: Final = f"{OPERATOR}-sidecars"
"""Owns all sidecars in CloudNativePG's Deployment with what they need, nothing else."""

# Labels of the children.
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
"""Selects everything this operator made; watches are filtered by it."""

LABEL_NAME: Final = "app.kubernetes.io/name"
"""The workload's name; on CloudNativePG's own Deployment it is `cloudnative-pg`."""

LABEL_PLUGIN: Final = f"{GROUP}/name"
"""Name of the `CNPGPlugin` that a child belongs to; also the pod selector of its Deployment."""

LABEL_NAMESPACE: Final = f"{GROUP}/namespace"
"""Namespace of the `CNPGPlugin` that a cluster-scoped child belongs to."""

LABEL_CHAIN: Final = f"{GROUP}/chain"
"""Marks the namespace's shared certificate chain; its value is the part of the chain."""

ANNOTATION_DESIRED: Final = f"{GROUP}/desired-hash"
"""Digest of what was applied: a difference means a field was changed or is no longer wanted."""

ANNOTATION_UID: Final = f"{GROUP}/uid"
"""On every child: the uid of the `CNPGPlugin` that it was made for. It says whose the child is,
also after its owner reference or its labels were removed."""

ANNOTATION_REVISION: Final = f"{GROUP}/revision"
"""On the Service: the plugin revision that was announced to CloudNativePG. Changing it also makes
CloudNativePG rebuild its connection (1.24.4, 1.25.2 and newer react to any change of the
Service)."""

ANNOTATION_ENDPOINT: Final = f"{GROUP}/endpoint-hash"
"""On the Service: digest of what CloudNativePG dials (port, Secrets, server name, certificates)."""

ANNOTATION_ANNOUNCED_AT: Final = f"{GROUP}/announced-at"
"""On the Service: when the revision was announced (RFC 3339, UTC)."""

ANNOTATION_CHANGED_AT: Final = f"{GROUP}/changed-at"
"""On the Service: when what CloudNativePG dials changed after the first announcement. A
CloudNativePG that does not re-register by itself and is older than this still uses the former
endpoint."""

ANNOTATION_RESTARTED_AT: Final = f"{GROUP}/restarted-at"
"""On CloudNativePG's pod template: when a restart was asked for (RFC 3339, UTC)."""

ANNOTATION_RESTARTED_FOR: Final = f"{GROUP}/restarted-for"
"""On CloudNativePG's pod template: the revisions the restart is for, as JSON `{"plugin":
"revision"}`. Pods inherit it, so a leader's own annotations say which revisions it started with."""

ANNOTATION_RENEW: Final = f"{GROUP}/renew-requested-at"
"""Set by people (RFC 3339): certificates that this operator issued before that moment are renewed.
On a `CNPGPlugin` it means the plugin's own two, on the Secret of an authority that authority."""

ANNOTATION_TRUST_CHANGED: Final = f"{GROUP}/trust-changed-at"
"""On the Secret of trusted certificates: when they last changed (RFC 3339, UTC)."""

ANNOTATION_RELOADED: Final = f"{GROUP}/reloaded-for"
"""On a plugin's pod template: the certificates its pods were last restarted for. Kept from then on,
for taking it away would restart them again."""

ANNOTATION_REFRESHED: Final = f"{GROUP}/refreshed-for"
"""On a plugin's pod: the certificates it was last told of. Any change of a pod makes the kubelet
bring its mounted Secrets up to date at once, instead of within a minute or more."""

ANNOTATION_TOUCHED: Final = f"{GROUP}/touched"
"""On the Service: when and why it was changed once more for the same revision, as JSON
`{"at": "time", "for": "why", "times": 1}`. Any change of the Service makes CloudNativePG register
it again."""

ANNOTATION_DISTURBED: Final = f"{GROUP}/disturbed-by"
"""On the Service: other Services with the plugin's name that were seen, with their uids and the
time. CloudNativePG keeps one entry for a name and may use theirs, or none, once they are gone."""

ANNOTATION_REPLACES: Final = f"{GROUP}/replaces"
"""On the Service: the revision that was announced before this one; absent on the first."""

ANNOTATION_SEEN_BY: Final = f"{GROUP}/seen-by"
"""On the Service of a plugin that becomes a sidecar: CloudNativePG's pods, comma-separated, that
may have seen its label before it was taken off."""

ANNOTATION_WITHDRAWN: Final = f"{GROUP}/withdrawn"
"""On CloudNativePG's Deployment: when plugins were withdrawn, as JSON `{"plugin name": "time"}`.
Versions that keep what they read of a plugin keep it beyond the end of its Service."""

ANNOTATION_ROLLED_AT: Final = f"{GROUP}/sidecars-rolled-at"
"""On CloudNativePG's Deployment: when it was last rolled for sidecars (RFC 3339, UTC). Not in the
pod template, for it stays when the last sidecar goes."""

ANNOTATION_SIDECARS: Final = f"{GROUP}/sidecars"
"""On CloudNativePG's pod template: the sidecars in it, as JSON `{"resource": "revision"}`. Pods
inherit it, so each says which revisions it was started with."""

ANNOTATION_APPROVE: Final = f"{GROUP}/approve"
"""On the resource: the change that a person approves where `upgradePolicy` is Manual; the token is
in the message of the condition Available."""

CERT_MANAGER_ISSUER: Final = "cert-manager.io/issuer-name"
"""By this annotation cert-manager knows who issued what is in a Secret. It takes a Secret without
it for its own (1.21.2, `pkg/api/util/issuers.go`), and would not issue anew when a plugin comes
back to it; so the operator's own pairs say that the operator issued them."""

# CloudNativePG's side of the contract (pkg/utils/labels_annotations.go, 1.24.0 to 1.30.0).
CNPG_PLUGIN_NAME: Final = "cnpg.io/pluginName"
"""Service label that CloudNativePG's code registers plugins by."""

CNPG_PLUGIN_DOCUMENTED: Final = "cnpg.io/plugin"
"""Service label that CloudNativePG's documentation names instead; set too, for those who select by
it."""

CNPG_PLUGIN_PORT: Final = "cnpg.io/pluginPort"
"""Service annotation: the port CloudNativePG dials."""

CNPG_CLIENT_SECRET: Final = "cnpg.io/pluginClientSecret"  # noqa: S105 - the name of an annotation
"""Service annotation: Secret with the pair CloudNativePG presents."""

CNPG_SERVER_SECRET: Final = "cnpg.io/pluginServerSecret"  # noqa: S105 - the name of an annotation
"""Service annotation: Secret whose `tls.crt` is CloudNativePG's whole trust pool."""

CNPG_SERVER_NAME: Final = "cnpg.io/pluginServerName"
"""Service annotation: TLS server name (1.26.3, 1.27.2, 1.28.0 and newer; ignored before)."""

CNPG_SERVICE_FINALIZER: Final = "cnpg.io/cleanupPlugin"
"""Finalizer that CloudNativePG 1.29.0 to 1.30.0 puts on a plugin's Service."""

CNPG_APP: Final = "cloudnative-pg"
"""Value of `app.kubernetes.io/name` on CloudNativePG's Deployment."""

CNPG_CONTAINER: Final = "manager"
"""CloudNativePG's container in its Deployment, whatever installed it."""

CNPG_IMAGE_VARIABLE: Final = "OPERATOR_IMAGE_NAME"
"""Environment variable of CloudNativePG's container: all ways to install it set it
(config/manager/manager.yaml, the chart's deployment.yaml, OLM's bundle; 1.24.0 to 1.30.0)."""

CNPG_SOCKET_VARIABLE: Final = "PLUGIN_SOCKET_DIR"
"""Where CloudNativePG looks for sockets of plugins, once, at its start: a key of its Secret or
ConfigMap, else an environment variable (internal/configuration, 1.24.0 to 1.30.0)."""

CNPG_SOCKET_DIRECTORY: Final = "/plugins"
"""The same where nothing names another."""

CNPG_WATCH_VARIABLE: Final = "WATCH_NAMESPACE"
"""Environment variable of CloudNativePG's container: the namespaces it watches, comma-separated;
empty or absent: all."""

OLM_OWNER: Final = "olm.owner"
"""Label that the Operator Lifecycle Manager puts on what a ClusterServiceVersion owns."""

CNPG_LEASE: Final = "db9c8771.cnpg.io"
"""CloudNativePG's leader election Lease; its holder is `<pod>_<uuid>`."""

CNPG_EVENT_SOURCE: Final = "cloudnative-pg-plugin"
"""Component of the Events that CloudNativePG 1.29.0 and newer writes on a plugin's Service."""

CNPG_PRIVATE_SECRETS: Final = frozenset({"cnpg-ca-secret", "cnpg-webhook-cert"})
"""CloudNativePG's own Secrets: no plugin has any business in them."""

CNPG_DOMAIN: Final = "cnpg.io"
"""Prefix of the labels and annotations by which CloudNativePG knows plugins."""

CNPG_GROUP: Final = "postgresql.cnpg.io"
"""API group of CloudNativePG's `Cluster`."""

# Containers and volumes of a plugin's pod.
CONTAINER: Final = "plugin"
"""The plugin's container."""

VOLUME_SERVER: Final = "cnpg-plugin-server-tls"
"""Volume with the plugin's server certificate."""

VOLUME_CLIENT: Final = "cnpg-plugin-client-tls"
"""Volume with what the plugin trusts client certificates by."""

ACCOUNT_PREFIX: Final = "cnpg-plugin-"
"""Begins the names of accounts that the operator makes, so that none takes the name of an account
that once had rights: bindings outlive the account that they name."""

# Sidecars in CloudNativePG's pod.
VOLUME_SOCKETS: Final = "cnpg-plugins-sockets"
"""Volume at CloudNativePG's socket directory: the gate's links to the sockets of the plugins. No
sidecar mounts it."""

SOCKET_DIRECTORIES: Final = "/cnpg-plugins"
"""Where CloudNativePG and the gate see each sidecar's own socket directory, by resource."""

_DIRECTORY_LENGTH: Final = 29
"""Of a name below it: with a plugin's name of 63 characters, the path of a socket has 107 bytes,
which is the longest that can be connected to (`sun_path` in unix(7))."""

VOLUME_NO_TOKEN: Final = "cnpg-plugins-no-token"  # noqa: S105 - the name of a volume
"""Empty volume, mounted where the token of CloudNativePG's account would be found."""

TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
"""Where the API server mounts an account's token unless something else is mounted there."""

GATE: Final = "cnpg-plugins-gate"
"""Init container after all sidecars: CloudNativePG starts when their sockets answer, or in the
end."""

SIDECAR_PREFIX: Final = "cnpg-plugin-"
"""Begins the names of sidecars and of their volumes, so that they never meet somebody else's."""

# The Secret of trusted certificates.
TRUSTED_SERVERS: Final = "tls.crt"
"""Key of the certificates that CloudNativePG trusts the plugin by; CloudNativePG chose its name."""

TRUSTED_CLIENTS: Final = "clients.crt"
"""Key of the certificates that the plugin trusts CloudNativePG by."""

# The namespace's shared certificate chain, made by cert-manager.
CHAIN_SELF_SIGNED: Final = "cnpg-plugins-selfsigned"
"""Issuer that signs the root with its own key."""

CHAIN_ROOT: Final = "cnpg-plugins-root"
"""Root CA: Certificate, its Secret and the Issuer that uses it."""

CHAIN_INTERMEDIATE: Final = "cnpg-plugins"
"""Intermediate CA: Certificate, its Secret and the Issuer that issues to plugins."""


# The namespace's shared certificate chain, made by this operator.
OWN_ROOT: Final = "cnpg-plugins-selfmanaged-root"
"""Secret of the root CA."""

OWN_INTERMEDIATE: Final = "cnpg-plugins-selfmanaged"
"""Secret of the intermediate CA that issues to plugins."""


def account(name: str) -> str:
    """Name the account that the operator makes for a plugin that names none."""
    return f"{ACCOUNT_PREFIX}{name}"


def grant(prefix: str, role: str) -> str:
    """Name the chart's ClusterRole that lets a ClusterRole be bound; the chart does the same."""
    return _shorten(f"{prefix}{role}", _NAME_LENGTH)


def server_secret(name: str) -> str:
    """Name the Secret (and Certificate) that the plugin's server presents."""
    return f"{name}-server-tls"


def client_secret(name: str, issuer: str = "") -> str:
    """Name the Secret (and Certificate) that CloudNativePG presents to the plugin.

    Each issuer's has a name of its own: CloudNativePG loads a changed Secret at once, so a pair in
    use is never replaced by one that the plugin may not trust yet.
    """
    return f"{name}-{issuer}-client-tls" if issuer else f"{name}-client-tls"


def trust_secret(name: str) -> str:
    """Name the Secret of the certificates by which both sides trust each other; no key is in it."""
    return f"{name}-trust"


def authority(name: str) -> str:
    """Name the intermediate CA of a plugin that shares none: Certificate, Secret and Issuer."""
    return f"{name}-plugin-ca"


def nudge_annotation(name: str) -> str:
    """Name the annotation on a Cluster that holds the revision of a plugin it was nudged for."""
    return f"{GROUP}/nudged-{name}"


def sidecar_container(name: str) -> str:
    """Name the container of a plugin in CloudNativePG's pod."""
    return _label(f"{SIDECAR_PREFIX}{name}")


def sidecar_volume(name: str, volume: str) -> str:
    """Name a volume of a sidecar: two plugins may call theirs the same."""
    text = f"{sidecar_container(name)}--{volume}"
    # With another `--` in it, the two could be taken apart in two ways.
    return _label(text, parts=f"{name}/{volume}" if text.count("--") > 1 else "")


def socket_volume(name: str) -> str:
    """Name the volume that holds the socket of one sidecar, and nothing of any other."""
    return _label(f"cnpg-plugins-socket-{name}")


def socket_directory(name: str) -> str:
    """Name the directory, in CloudNativePG's container and in the gate, of a sidecar's socket."""
    return f"{SOCKET_DIRECTORIES}/{socket_subdirectory(name)}"


def socket_subdirectory(name: str) -> str:
    """Name the same directory, relative to that of all sidecars."""
    return _label(name, length=_DIRECTORY_LENGTH)


def _label(text: str, parts: str = "", length: int = _LABEL_LENGTH) -> str:
    """Shorten a name to what a DNS label holds; a digest keeps long ones apart."""
    return _shorten(text, length, parts)


def _shorten(text: str, length: int, parts: str = "") -> str:
    if len(text) <= length and not parts:
        return text
    digest = hashlib.sha256((parts or text).encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{text[: length - _DIGEST_LENGTH - 1]}-{digest}"
