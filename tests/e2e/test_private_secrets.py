"""An author reads no key, and gets no certificate, that is not meant for the author's plugin.

All attacks are made at once: each names a Secret of one class in one place.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.names import SHARED
from tests.support import wait
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.installation import ALLOWED_ISSUER, apply_crd
from tests.support.e2e.issuers import TLS, ca_issuer, client_pair, secret, server_pair
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, conditions
from tests.support.e2e.remains import marked
from tests.support.e2e.rolls import CNPG
from tests.support.resources import NAMESPACE, Manifest, behaviour, plugin, service
from tests.support.tls.certificates import authority

pytestmark = pytest.mark.cnpg("rolled")

HOLDER = "holder"
"""A plugin with pairs from its user; it is older than all that request them."""

COMPANY = "private-company"
"""An issuer that the chart does not grant."""

CERT_MANAGER_NAMESPACE = "cert-manager"
CNPG_MOUNTS = "private-cnpg-service-cert"
TOKEN = "private-token"
LOOT = COMPANY
"""The Secret that is named where the place matters."""

KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": LOOT, "key": "tls.key"}}}
KEYS = {"secretRef": {"name": LOOT}}
REFERENCE = {"secretRef": {"name": LOOT}}


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "loot", **source}]}


def secret_volume(name: str) -> dict[str, Any]:
    return volume(secret={"secretName": name})


def pod(**spec: object) -> dict[str, Any]:
    return {"podTemplate": {"spec": spec}}


def user_secrets(server: str, client: str) -> dict[str, Any]:
    return {"tls": {"provider": "Secrets", "secrets": {"server": server, "client": client}}}


def issued(name: str, kind: str = "Issuer", **tls: Any) -> dict[str, Any]:
    return {"tls": {"issuerRef": {"name": name, "kind": kind}, **tls}}


SIDECAR = {"mode": "Sidecar"}
SIGNS = f"Issuer {COMPANY} signs with it"
PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "volume": (secret_volume(LOOT), "volumes[loot].secret.secretName"),
    "projected": (volume(projected={"sources": [{"secret": {"name": LOOT}}]}), "projected"),
    "csi": (
        volume(csi={"driver": "d.example.com", "nodePublishSecretRef": {"name": LOOT}}),
        "csi.nodePublishSecretRef",
    ),
    "azure-file": (volume(azureFile={"shareName": "s", "secretName": LOOT}), "azureFile"),
    "rbd": (volume(rbd={"image": "i", "monitors": ["m"], **REFERENCE}), "rbd.secretRef"),
    "cephfs": (volume(cephfs={"monitors": ["m"], **REFERENCE}), "cephfs.secretRef"),
    "iscsi": (
        volume(iscsi={"targetPortal": "a:1", "iqn": "i", "lun": 0, **REFERENCE}), "iscsi.secretRef",
    ),
    "flex": (volume(flexVolume={"driver": "a/b", **REFERENCE}), "flexVolume.secretRef"),
    "storageos": (volume(storageos={"volumeName": "v", **REFERENCE}), "storageos.secretRef"),
    "scale-io": (
        volume(scaleIO={"gateway": "g", "system": "s", **REFERENCE}), "scaleIO.secretRef",
    ),
    "variable": ({"env": [*behaviour("x"), KEY]}, "env[KEY].valueFrom.secretKeyRef"),
    "variables": ({"envFrom": [KEYS]}, "envFrom[0].secretRef"),
    "template-volume": (pod(**secret_volume(LOOT)), "volumes[loot]"),
    "template-variable": (pod(containers=[{"name": "plugin", "env": [KEY]}]), "env[KEY]"),
    "other-container": (
        pod(containers=[{"name": "other", "image": "x", "envFrom": [KEYS]}]), "containers[other]",
    ),
    "init-container": (
        pod(initContainers=[{"name": "i", "image": "x", "env": [KEY]}]), "initContainers[i]",
    ),
    "operators-volume": (
        pod(volumes=[{"name": "cnpg-plugin-server-tls", "secret": {"secretName": LOOT}}]),
        "volumes[cnpg-plugin-server-tls]",
    ),
    "server-pair": (user_secrets(LOOT, "private-any"), "spec.tls.secrets.server"),
    "client-pair": (user_secrets("private-other", LOOT), "spec.tls.secrets.client"),
    "sidecar-volume": ({**SIDECAR, **secret_volume(LOOT)}, "spec.volumes[loot]"),
    "sidecar-variable": ({**SIDECAR, "env": [*behaviour("x"), KEY]}, "spec.env[KEY]"),
    "sidecar-variables": ({**SIDECAR, "envFrom": [KEYS]}, "spec.envFrom[0]"),
}  # fmt: skip

CLASSES: dict[str, tuple[dict[str, Any], str]] = {
    "mounted-by-cnpg": (secret_volume(CNPG_MOUNTS), "CloudNativePG's own pod uses it"),
    "ca-of-cnpg": (secret_volume("cnpg-ca-secret"), "it is CloudNativePG's own"),
    "webhook-of-cnpg": (secret_volume("cnpg-webhook-cert"), "it is CloudNativePG's own"),
    "configuration-of-cnpg": (
        secret_volume("cnpg-controller-manager-config"), "reads its configuration from it",
    ),
    "user-server": (secret_volume("private-server"), f"of CNPGPlugin {HOLDER}"),
    "user-client": (secret_volume("private-client"), f"of CNPGPlugin {HOLDER}"),
    "shared-pair": (user_secrets("private-server", "private-any"), f"of CNPGPlugin {HOLDER}"),
    "by-hand-server": (secret_volume("by-hand-server"), "Service private-by-hand names it"),
    "by-hand-client": (secret_volume("by-hand-client"), "Service private-by-hand names it"),
    "by-hand-pair": (
        user_secrets("by-hand-server", "by-hand-client"), "Service private-by-hand names",
    ),
    "cluster-issuer": (
        secret_volume(ALLOWED_ISSUER), f"ClusterIssuer {ALLOWED_ISSUER} signs with it",
    ),
    "token": (secret_volume(TOKEN), f"it contains a token of ServiceAccount {TOKEN}"),
    "sidecar-token": (
        {**SIDECAR, **secret_volume(TOKEN)}, f"it contains a token of ServiceAccount {TOKEN}",
    ),
    "helm-release": (secret_volume("private-release"), "Helm stores a release in it"),
    "client-of-the-chain": (
        secret_volume(f"{SHARED}-client-tls"), f"the operator keeps it for CNPGPlugin {SHARED}",
    ),
    "trust": (
        secret_volume(f"{SHARED}-trust"), f"the operator keeps it for CNPGPlugin {SHARED}",
    ),
    "intermediate": (secret_volume("cnpg-plugins"), "Issuer cnpg-plugins signs with it"),
    "own-client-key": (
        secret_volume("loot-own-client-key-client-tls"), "reserves such names for its own Secrets",
    ),
}  # fmt: skip

FURTHER: dict[str, Any] = {"dnsNames": ["www.example.com"]}
ISSUERS: dict[str, tuple[dict[str, Any], str]] = {
    "dns-name": (issued(COMPANY, **FURTHER), "spec.tls.dnsNames: www.example.com is not a name"),
    "wildcard": (issued(COMPANY, dnsNames=["*.example.com"]), "spec.tls.dnsNames: *.example.com"),
    "server-name": (issued(COMPANY, serverName="www.example.com"), "spec.tls.serverName: www"),
    "another-kind": (issued(ALLOWED_ISSUER, **FURTHER), "chart value allowedIssuers"),
    "intermediate": (issued("cnpg-plugins"), "Issuer cnpg-plugins is the operator's own"),
    "root": (issued("cnpg-plugins-root"), "Issuer cnpg-plugins-root is the operator's own"),
    "self-signed": (issued("cnpg-plugins-selfsigned"), "is the operator's own"),
    "authority": (issued("private-alone-plugin-ca"), "is the operator's own"),
    "csi-driver": (
        volume(csi={"driver": "csi.cert-manager.io", "volumeAttributes": {
            "csi.cert-manager.io/issuer-name": COMPANY}}),
        "CSI driver csi.cert-manager.io",
    ),
}  # fmt: skip

ATTACKS = {
    **{f"loot-place-{name}": (spec, (place, SIGNS)) for name, (spec, place) in PLACES.items()},
    **{f"loot-{name}": (spec, (words,)) for name, (spec, words) in CLASSES.items()},
    **{f"loot-issuer-{name}": (spec, (words,)) for name, (spec, words) in ISSUERS.items()},
}


def cluster_issuer(name: str) -> Manifest:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": name},
        "spec": {"ca": {"secretName": name}},
    }


def by_hand() -> Manifest:
    """The Service of a plugin that was deployed without this operator."""
    body = service("private-by-hand")
    body["metadata"]["annotations"] = {
        "cnpg.io/pluginServerSecret": "by-hand-server",
        "cnpg.io/pluginClientSecret": "by-hand-client",
    }
    return body


def token() -> list[Manifest]:
    metadata = {"name": TOKEN, "namespace": NAMESPACE}
    account = {"kubernetes.io/service-account.name": TOKEN}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**metadata, "annotations": account},
            "type": "kubernetes.io/service-account-token",
        },
    ]


@pytest.fixture(scope="module")
def treasures(operator: Operator, module_plugins: Plugins, shared: Plugins) -> Iterator[Plugins]:
    """One Secret of each class, and who uses it."""
    plugins, cluster = module_plugins, operator.cluster
    root = authority("private-root")
    company = authority(COMPANY, root)
    mounted = {"name": "private", "secret": {"secretName": CNPG_MOUNTS, "optional": True}}
    template = {"spec": {"template": {"spec": {"volumes": [mounted]}}}}
    where = ("--namespace", NAMESPACE)
    cluster.kubectl("patch", "deployment", CNPG, *where, "--patch", json.dumps(template))
    issuer_secret = secret(ALLOWED_ISSUER, company.secret, TLS)
    issuer_secret["metadata"]["namespace"] = CERT_MANAGER_NAMESPACE
    plugins.apply(
        issuer_secret,
        secret("private-server", server_pair(company, HOLDER).secret, TLS),
        secret("private-client", client_pair(company).secret, TLS),
        plugin(HOLDER, **user_secrets("private-server", "private-client")),
        plugin("private-alone", tls={"issuerScope": "Plugin"}),
        *ca_issuer(COMPANY, company),
        by_hand(),
        *token(),
        *(
            secret(name, company.secret, TLS)
            for name in (CNPG_MOUNTS, "by-hand-server", "by-hand-client", "private-any")
        ),
        secret("private-release", {"release": b"x"}, "helm.sh/release.v1"),
    )
    cluster.kubectl("apply", "-f", "-", input=json.dumps(marked(cluster_issuer(ALLOWED_ISSUER))))
    cluster.kubectl("rollout", "status", f"deployment/{CNPG}", *where, "--timeout=300s")
    plugins.until_ready(HOLDER, "private-alone")
    yield plugins
    cluster.kubectl("delete", "clusterissuer", ALLOWED_ISSUER)
    restore_cnpg(cluster)


@pytest.fixture(scope="module")
def attacks(treasures: Plugins) -> Plugins:
    """All attacks, made at once."""
    treasures.apply(*(plugin(name, **spec) for name, (spec, _) in ATTACKS.items()))
    return treasures


@pytest.mark.parametrize("name", ATTACKS)
def test_secrets_of_others_are_refused(attacks: Plugins, name: str) -> None:
    found = attacks.until_condition(name, "Accepted", "InvalidSpec", within=60)
    assert found["status"] == "False"
    for words in ATTACKS[name][1]:
        assert words in found["message"], found["message"]
    assert attacks.find("Deployment", name) is None
    assert attacks.find("Certificate", f"{name}-server-tls") is None


def test_the_owner_of_a_secret_keeps_it_whatever_others_request(attacks: Plugins) -> None:
    attacks.until_condition("loot-shared-pair", "Accepted", "InvalidSpec", within=60)
    assert conditions(attacks.plugin(HOLDER))["Accepted"]["status"] == "True"
    attacks.until_ready(HOLDER, SHARED)


def test_the_plugins_own_secret_is_mounted_and_read(treasures: Plugins) -> None:
    name = "reads-its-own"
    variable = {"name": "OWN", "valueFrom": {"secretKeyRef": {"name": "own", "key": "key"}}}
    treasures.apply(
        secret("own", {"key": b"value"}),
        plugin(
            name,
            env=[*behaviour(name), variable],
            envFrom=[{"secretRef": {"name": "own"}}],
            **volume(secret={"secretName": "own"}),
            volumeMounts=[{"name": "loot", "mountPath": "/own"}],
            imagePullSecrets=[{"name": "own"}],
        ),
    )
    treasures.until_ready(name)


def test_a_resource_is_evaluated_again_when_its_secret_changes_owner(treasures: Plugins) -> None:
    """The operator could use this name, until another party has created the Secret."""
    name, own = "private-late", "private-late-own-server-tls"
    treasures.apply(plugin(name, **secret_volume(own)))
    treasures.until_condition(name, "Accepted", "InvalidSpec", within=30)
    treasures.apply(secret(own, {"key": b"value"}))
    treasures.until_ready(name, within=40)


def test_a_granted_issuer_signs_additional_names(treasures: Plugins) -> None:
    name = "private-granted"
    treasures.apply(plugin(name, **issued(ALLOWED_ISSUER, "ClusterIssuer", **FURTHER)))
    treasures.until_ready(name)
    assert (
        FURTHER["dnsNames"][0]
        in treasures.get("Certificate", f"{name}-server-tls")["spec"]["dnsNames"]
    )


def test_a_previously_announced_name_reaches_no_issuer_indirectly(
    treasures: Plugins,
) -> None:
    name = "private-detour"
    treasures.apply(plugin(name, tls={"serverName": "www.example.com"}))
    treasures.until_ready(name)
    treasures.patch(name, tls={"serverName": None, "issuerRef": {"name": COMPANY}})
    found = treasures.until_condition(name, "Accepted", "InvalidSpec", within=30)
    assert "still verifies the previous serverName: www.example.com" in found["message"]
    certificate = treasures.get("Certificate", f"{name}-server-tls")
    assert certificate["spec"]["issuerRef"]["name"] == "cnpg-plugins"
    treasures.patch(name, tls={"issuerRef": None})
    treasures.until_ready(name)
    treasures.patch(name, tls={"issuerRef": {"name": COMPANY}})
    treasures.until_ready(name)


NAMES: dict[str, dict[str, Any]] = {
    "path-cnpg-secret": {"cnpg": {"deploymentName": "../../secrets/path-target"}},
    "path-cnpg-above": {"cnpg": {"deploymentName": "../.."}},
    "path-cnpg-query": {"cnpg": {"deploymentName": "x?watch=1"}},
    "path-issuer-above": issued("../../secrets/path-target"),
    "path-issuer-query": issued("x?watch=1"),
}
RULES = ("cnpg/properties/deploymentName", "tls/properties/issuerRef/properties/name")


def test_a_name_stored_before_the_schemas_rules_has_no_effect(
    operator: Operator, plugins: Plugins
) -> None:
    base = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
    without = [{"op": "remove", "path": f"{base}/{rule}/pattern"} for rule in RULES]
    since = operator.audit.mark()
    try:
        crd = ("crd", "cnpgplugins.cnpgplugin.dev")
        plugins.kubectl("patch", *crd, "--type=json", "--patch", json.dumps(without))
        manifests = [plugin(name, **spec) for name, spec in NAMES.items()]
        wait.until("the rules are gone", lambda: _stores(plugins, manifests), within=20)
    finally:
        apply_crd(operator.cluster)
    for name in NAMES:
        found = plugins.until_condition(name, "Accepted", "InvalidSpec", within=30)
        assert "name" in found["message"].lower()
    asked = operator.audit.requests(since)
    assert "namespaces" not in {request.resource for request in asked}
    assert not [request for request in asked if "path-target" in request.name]


def _stores(plugins: Plugins, manifests: list[Manifest]) -> bool:
    """Whether the API server accepts them; it may apply a changed schema a moment later."""
    try:
        plugins.apply(*manifests)
    except Exception as error:
        if "should match" in str(error):
            return False
        raise
    return True
