"""CloudNativePG's side of the contract (pkg/utils/labels_annotations.go, 1.24.0 to 1.30.0)."""

from typing import Final

PLUGIN_NAME: Final = "cnpg.io/pluginName"
"""Service label by which CloudNativePG finds plugins."""

PLUGIN_DOCUMENTED: Final = "cnpg.io/plugin"
"""Service label that CloudNativePG's documentation names instead. The operator sets it too, for
users who select by it."""

PLUGIN_PORT: Final = "cnpg.io/pluginPort"
"""Service annotation: the port CloudNativePG dials."""

USUAL_PORT: Final = 9090
"""The port of nearly every plugin, and the default of a resource."""

CLIENT_SECRET: Final = "cnpg.io/pluginClientSecret"  # noqa: S105 - the name of an annotation
"""Service annotation: Secret with the pair CloudNativePG presents."""

SERVER_SECRET: Final = "cnpg.io/pluginServerSecret"  # noqa: S105 - the name of an annotation
"""Service annotation: Secret whose `tls.crt` is CloudNativePG's whole trust pool."""

SERVER_NAME: Final = "cnpg.io/pluginServerName"
"""Service annotation: TLS server name (1.26.3, 1.27.2, 1.28.0 and newer; ignored before)."""

RETIRED_SUFFIX: Final = ".taken-over"
"""End of the plugin's name on a Service that was taken over. The label is not removed, but gets a
name that no Cluster uses: CloudNativePG 1.29.3 and 1.30.1 remember by which name they registered a
Service, and forget the plugin of that name when the Service is deleted, labelled or not; 1.29.0 to
1.30.0 remove their finalizer only from a Service with the label."""

SERVICE_FINALIZER: Final = "cnpg.io/cleanupPlugin"
"""Finalizer that CloudNativePG 1.29.0 to 1.30.0 puts on a plugin's Service."""

APP: Final = "cloudnative-pg"
"""Value of `app.kubernetes.io/name` on CloudNativePG's Deployment."""

CONTAINER: Final = "manager"
"""CloudNativePG's container in its Deployment, however it was installed."""

IMAGE_VARIABLE: Final = "OPERATOR_IMAGE_NAME"
"""Environment variable of CloudNativePG's container. Every way to install it sets it
(config/manager/manager.yaml, the chart's deployment.yaml, OLM's bundle; 1.24.0 to 1.30.0)."""

SOCKET_VARIABLE: Final = "PLUGIN_SOCKET_DIR"
"""Directory where CloudNativePG looks for plugin sockets, once, when it starts: a key of its Secret
or ConfigMap, else an environment variable (internal/configuration, 1.24.0 to 1.30.0)."""

SOCKET_DIRECTORY: Final = "/plugins"
"""The directory where nothing else is configured."""

WATCH_VARIABLE: Final = "WATCH_NAMESPACE"
"""Environment variable of CloudNativePG's container: the namespaces it watches, comma-separated;
empty or absent: all."""

PROXY_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy")
"""Environment variables that name an HTTP proxy for TLS connections; the first one counts."""

NO_PROXY_VARIABLES: Final = ("NO_PROXY", "no_proxy")
"""Environment variables with the hosts that need no proxy, comma-separated."""

LEASE: Final = "db9c8771.cnpg.io"
"""CloudNativePG's leader election Lease; its holder is `<pod>_<uuid>`."""

EVENT_SOURCE: Final = "cloudnative-pg-plugin"
"""Component of the Events that CloudNativePG 1.29.0 and newer writes on a plugin's Service."""

PRIVATE_SECRETS: Final = frozenset({"cnpg-ca-secret", "cnpg-webhook-cert"})
"""CloudNativePG's own Secrets. No plugin may use them."""

DOMAIN: Final = "cnpg.io"
"""Prefix of the labels and annotations by which CloudNativePG recognizes plugins."""

GROUP: Final = "postgresql.cnpg.io"
"""API group of CloudNativePG's `Cluster`."""


def retired(name: str) -> str:
    """Return the label of a Service that the resource of this name has taken over."""
    return f"{name}{RETIRED_SUFFIX}"
