"""cert-manager's objects: the namespace's chain, and the two certificates of a plugin.

With an intermediate CA, `tls.crt` holds leaf and intermediate (cert-manager leaves the self-signed
root out), so each side's pool keeps trusting the other's next leaf: a renewal fails no call. A
self-signed leaf, as the plugins' published manifests use, is its own pool and breaks at every
renewal.

Only fields that cert-manager 1.12 knows are sent.
"""

from datetime import timedelta
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.durations import format_duration
from cnpg_plugin_operator.api.spec import Plugin
from cnpg_plugin_operator.desired.objects import Object, build_child, stamp

API_VERSION: Final = "cert-manager.io/v1"

ROOT_LIFETIME: Final = timedelta(days=3650)
"""The root only signs intermediates."""

INTERMEDIATE_LIFETIME: Final = timedelta(days=1825)
"""Renewing the intermediate is the one step that both sides have to follow: seldom, then."""


def build_chain(namespace: str) -> list[Object]:
    """Build the chain that all plugins of a namespace share.

    No owner: it outlives any single plugin and is removed with the last.
    """
    return [
        _build_part(namespace, "Issuer", names.CHAIN_SELF_SIGNED, {"selfSigned": {}}),
        _build_ca(namespace, names.CHAIN_ROOT, names.CHAIN_SELF_SIGNED, ROOT_LIFETIME),
        _build_part(
            namespace, "Issuer", names.CHAIN_ROOT, {"ca": {"secretName": names.CHAIN_ROOT}}
        ),
        _build_ca(namespace, names.CHAIN_INTERMEDIATE, names.CHAIN_ROOT, INTERMEDIATE_LIFETIME),
        _build_part(
            namespace,
            "Issuer",
            names.CHAIN_INTERMEDIATE,
            {"ca": {"secretName": names.CHAIN_INTERMEDIATE}},
        ),
    ]


def _build_ca(namespace: str, name: str, issuer: str, lifetime: timedelta) -> Object:
    return _build_part(
        namespace,
        "Certificate",
        name,
        {
            "isCA": True,
            "commonName": f"{name}.{namespace}"[:64],
            "secretName": name,
            "duration": format_duration(lifetime),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["cert sign", "crl sign", "digital signature"],
            "secretTemplate": {
                "labels": {names.LABEL_MANAGED_BY: names.OPERATOR, names.LABEL_CHAIN: name}
            },
            "issuerRef": {"name": issuer, "kind": "Issuer", "group": "cert-manager.io"},
        },
    )


def _build_part(namespace: str, kind: str, name: str, spec: Object) -> Object:
    return stamp(
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    names.LABEL_MANAGED_BY: names.OPERATOR,
                    names.LABEL_CHAIN: name,
                },
                "annotations": {},
            },
            "spec": spec,
        }
    )


def build_certificates(plugin: Plugin, cluster_domain: str) -> list[Object]:
    """Build the plugin's server certificate and the client certificate of CloudNativePG."""
    host = plugin.host
    dns_names = [plugin.service_name, f"{plugin.service_name}.{plugin.namespace}", host]
    dns_names.append(f"{host}.{cluster_domain}")
    for extra in (plugin.server_name, *plugin.spec.tls.dns_names):
        if extra not in dns_names:
            dns_names.append(extra)
    server = {"dnsNames": dns_names, "usages": ["digital signature", "server auth"]}
    client = {
        "commonName": f"{plugin.name}-client",
        "usages": ["digital signature", "client auth"],
    }
    return [
        _build_leaf(plugin, names.server_secret(plugin.name), server),
        _build_leaf(plugin, names.client_secret(plugin.name), client),
    ]


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
                names.LABEL_MANAGED_BY: names.OPERATOR,
                names.LABEL_PLUGIN: plugin.name,
            }
        },
    }
    if tls.private_key.algorithm == "RSA":
        spec["usages"] = [*spec["usages"], "key encipherment"]
    if tls.renew_before is not None:
        spec["renewBefore"] = format_duration(tls.renew_before)
    return build_child(plugin, API_VERSION, "Certificate", secret, spec=spec)


def issuer_reference(plugin: Plugin) -> dict[str, str]:
    """Name the issuer of a plugin's certificates: the user's, else the namespace's chain."""
    own = plugin.spec.tls.issuer_ref
    if own is None:
        return {"name": names.CHAIN_INTERMEDIATE, "kind": "Issuer", "group": "cert-manager.io"}
    return {"name": own.name, "kind": own.kind, "group": own.group}
