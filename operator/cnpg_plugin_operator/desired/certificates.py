"""cert-manager's objects: the namespace's chain, and the two certificates of a plugin.

Certificates that an authority has signed are trusted by that authority, so they can be renewed
without a change on the other side. A self-signed leaf, as in the manifests that plugins publish, is
its own pool and breaks calls at every renewal.

The objects use only fields of cert-manager 1.12.
"""

from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.durations import format_duration
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child, stamp

API_VERSION: Final = "cert-manager.io/v1"

ROOT_LIFETIME: Final = timedelta(days=3650)
"""Lifetime of the root with every provider; it only signs intermediates."""

INTERMEDIATE_LIFETIME: Final = timedelta(days=1825)
"""Lifetime of the intermediate with every provider."""


def build_chain(namespace: str) -> list[Object]:
    """Build the chain that all plugins of a namespace share.

    It has no owner: it outlives any single plugin and is removed with the last one.
    """
    return [
        _build_part(namespace, "Issuer", names.children.CHAIN_SELF_SIGNED, {"selfSigned": {}}),
        _build_ca(
            namespace, names.children.CHAIN_ROOT, names.children.CHAIN_SELF_SIGNED, ROOT_LIFETIME
        ),
        _build_part(
            namespace,
            "Issuer",
            names.children.CHAIN_ROOT,
            {"ca": {"secretName": names.children.CHAIN_ROOT}},
        ),
        _build_ca(
            namespace,
            names.children.CHAIN_INTERMEDIATE,
            names.children.CHAIN_ROOT,
            INTERMEDIATE_LIFETIME,
        ),
        _build_part(
            namespace,
            "Issuer",
            names.children.CHAIN_INTERMEDIATE,
            {"ca": {"secretName": names.children.CHAIN_INTERMEDIATE}},
        ),
    ]


def build_own_authority(plugin: Plugin) -> list[Object]:
    """Build the intermediate of a plugin that shares none, signed by the namespace's root."""
    name = names.children.authority(plugin.name)
    labels = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.PLUGIN: plugin.name}
    spec = _ca_spec(
        plugin.namespace, name, names.children.CHAIN_ROOT, INTERMEDIATE_LIFETIME, labels
    )
    return [
        build_child(plugin, API_VERSION, "Certificate", name, spec=spec),
        build_child(plugin, API_VERSION, "Issuer", name, spec={"ca": {"secretName": name}}),
    ]


def _build_ca(namespace: str, name: str, issuer: str, lifetime: timedelta) -> Object:
    labels = {names.labels.MANAGED_BY: names.resource.OPERATOR, names.labels.CHAIN: name}
    spec = _ca_spec(namespace, name, issuer, lifetime, labels)
    return _build_part(namespace, "Certificate", name, spec)


def _ca_spec(
    namespace: str, name: str, issuer: str, lifetime: timedelta, labels: dict[str, str]
) -> Object:
    return {
        "isCA": True,
        "commonName": authority_subject(namespace, name),
        "secretName": name,
        "duration": format_duration(lifetime),
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["cert sign", "crl sign", "digital signature"],
        "secretTemplate": {"labels": labels},
        "issuerRef": {"name": issuer, "kind": "Issuer", "group": "cert-manager.io"},
    }


def authority_subject(namespace: str, name: str) -> str:
    """Return the subject of a CA, at most 64 characters (RFC 5280, upper bounds)."""
    return f"{name}.{namespace}"[:64]


def _build_part(namespace: str, kind: str, name: str, spec: Object) -> Object:
    return stamp(
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    names.labels.MANAGED_BY: names.resource.OPERATOR,
                    names.labels.CHAIN: name,
                },
                "annotations": {},
            },
            "spec": spec,
        }
    )


def server_names(plugin: Plugin, cluster_domain: str, announced: str | None) -> list[str]:
    """List the DNS names of the server certificate.

    `announced` is the name that CloudNativePG currently verifies. It stays covered until another
    name is announced.
    """
    found = service_names(plugin, cluster_domain)
    found += [plugin.server_name, *plugin.spec.tls.dns_names]
    found += [announced] if announced is not None else []
    return list(dict.fromkeys(found))


def service_names(plugin: Plugin, cluster_domain: str) -> list[str]:
    """List the DNS names that Kubernetes gives to the plugin's Service."""
    name, host = plugin.service_name, plugin.host
    return [name, f"{name}.{plugin.namespace}", host, f"{host}.{cluster_domain}"]


def build_server_certificate(plugin: Plugin, dns_names: list[str]) -> Object:
    """Build the certificate that the plugin presents."""
    purpose: Object = {"dnsNames": dns_names, "usages": ["digital signature", "server auth"]}
    return _build_leaf(plugin, plugin.server_secret, purpose)


def build_client_certificate(plugin: Plugin) -> Object:
    """Build the certificate that CloudNativePG presents to the plugin."""
    subject, usages = client_subject(plugin), ["digital signature", "client auth"]
    return _build_leaf(plugin, plugin.client_secret, {"commonName": subject, "usages": usages})


def client_subject(plugin: Plugin) -> str:
    """Return the subject of CloudNativePG as a plugin's client, at most 64 characters."""
    return f"{plugin.name[:57]}-client"


def _build_leaf(plugin: Plugin, secret: str, purpose: Object) -> Object:
    tls = plugin.spec.tls
    spec: Object = {
        **purpose,
        "secretName": secret,
        "duration": format_duration(tls.duration),
        "privateKey": {
            "algorithm": tls.private_key.algorithm,
            "size": tls.private_key.effective_size,
            "rotationPolicy": "Always",
        },
        "issuerRef": issuer_reference(plugin),
        "secretTemplate": {
            "labels": {
                names.labels.MANAGED_BY: names.resource.OPERATOR,
                names.labels.PLUGIN: plugin.name,
            }
        },
    }
    if tls.private_key.algorithm == "RSA":
        spec["usages"] = [*spec["usages"], "key encipherment"]
    if tls.renew_before is not None:
        spec["renewBefore"] = format_duration(tls.renew_before)
    return build_child(plugin, API_VERSION, "Certificate", secret, spec=spec)


def issuer_reference(plugin: Plugin) -> dict[str, str]:
    """Return the issuer of a plugin's certificates: the user's, else one of the operator's own."""
    own = plugin.spec.tls.issuer_ref
    if own is not None:
        return {"name": own.name, "kind": own.kind, "group": own.group}
    own_authority = plugin.has_own_authority
    name = (
        names.children.authority(plugin.name)
        if own_authority
        else names.children.CHAIN_INTERMEDIATE
    )
    return {"name": name, "kind": "Issuer", "group": "cert-manager.io"}
