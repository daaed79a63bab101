"""The class in which users set what they do not mean, and take it back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.campaign.admin import JSON_PATCH
from tests.campaign.classes.mutations import HOLDING, child, happened, patch, replace
from tests.campaign.lane import Lane
from tests.campaign.plans import Disturb, Plan, Recordings
from tests.campaign.workloads import NAME
from tests.support.resources import NEWER_IMAGE, behaviour

MISOPERATIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("image-older", {"image": "localhost/no-such-image:1"}),
    ("image-newer", {"image": NEWER_IMAGE}),
    ("imagePullPolicy", {"imagePullPolicy": "Never"}),
    ("imagePullSecrets", {"imagePullSecrets": [{"name": "no-such-secret"}]}),
    ("command-missing", {"command": ["/no/such/program"]}),
    ("args-unknown", {"args": ["no-such-command"]}),
    ("args-none", {"args": []}),
    ("serverArguments", {"serverArguments": "None"}),
    ("port", {"port": 65535}),
    ("extraPorts", {"extraPorts": [{"name": "odd", "port": 1}]}),
    ("env-name", {"env": behaviour("another")}),
    ("env-crash", {"env": behaviour(NAME, SAMPLE_MISBEHAVE="crash")}),
    ("env-hang", {"env": behaviour(NAME, SAMPLE_MISBEHAVE="hang")}),
    ("env-no-listen", {"env": behaviour(NAME, SAMPLE_MISBEHAVE="no-listen")}),
    ("env-restless", {"env": behaviour(NAME, SAMPLE_MISBEHAVE="restless")}),
    ("envFrom", {"envFrom": [{"configMapRef": {"name": "no-such-map"}}]}),
    ("resources-much", {"resources": {"requests": {"cpu": "1000", "memory": "1Pi"}}}),
    ("resources-little", {"resources": {"limits": {"memory": "1Mi"}}}),
    ("volumes", {"volumes": [{"name": "odd", "configMap": {"name": "no-such-map"}}]}),
    ("probes", {"probes": {"readiness": {"tcpSocket": {"port": 1}}}}),
    ("probes-liveness", {"probes": {"liveness": {"tcpSocket": {"port": 1}}}}),
    ("securityContext", {"securityContext": {"runAsUser": 1}}),
    ("podSecurityContext", {"podSecurityContext": {"fsGroup": 4294967295}}),
    ("affinity", {"affinity": {"nodeAffinity": {}}}),
    ("nodeSelector", {"nodeSelector": {"example.com/no": "node"}}),
    ("tolerations", {"tolerations": [{"operator": "Exists"}]}),
    (
        "topologySpreadConstraints",
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "no", "whenUnsatisfiable": "DoNotSchedule"}
            ]
        },
    ),
    ("priorityClassName", {"priorityClassName": "no-such-class"}),
    ("podLabels", {"podLabels": {"example.com/odd": ""}}),
    ("podAnnotations", {"podAnnotations": {"example.com/odd": "\u202e"}}),
    ("deploymentLabels", {"deploymentLabels": {"example.com/odd": "x"}}),
    ("replicas-none", {"replicas": 0}),
    ("replicas-three", {"replicas": 3}),
    ("strategy", {"strategy": {"type": "RollingUpdate"}}),
    ("minReadySeconds", {"minReadySeconds": 300}),
    ("progressDeadlineSeconds", {"progressDeadlineSeconds": 1}),
    ("podDisruptionBudget", {"podDisruptionBudget": {"minAvailable": 0}}),
    ("networkPolicy", {"networkPolicy": {"enabled": True}}),
    ("podTemplate", {"podTemplate": {"spec": {"hostAliases": []}}}),
    ("podTemplate-refused", {"podTemplate": {"spec": {"hostNetwork": True}}}),
    ("serviceAccount-created", {"serviceAccount": {"create": True, "name": "odd"}}),
    ("serviceAccount-refused", {"serviceAccount": {"create": False, "name": "cnpg-manager"}}),
    ("clusterRoles", {"clusterRoles": ["cluster-admin"]}),
    ("roles", {"roles": ["no-such-role"]}),
    ("service-name", {"service": {"name": "odd"}}),
    ("service-name-taken", {"service": {"name": "cnpg-webhook-service"}}),
    ("service-labels", {"service": {"labels": {"example.com/odd": "x"}}}),
    ("service-annotations", {"service": {"annotations": {"example.com/odd": "\u202e"}}}),
    ("service-families", {"service": {"ipFamilies": ["IPv6"]}}),
    ("service-policy", {"service": {"ipFamilyPolicy": "RequireDualStack"}}),
    ("tls-provider", {"tls": {"provider": "SelfManaged"}}),
    ("tls-secrets", {"tls": {"provider": "Secrets", "secrets": {"server": "x", "client": "y"}}}),
    ("tls-issuer", {"tls": {"issuerRef": {"name": "no-such-issuer"}}}),
    ("tls-scope", {"tls": {"issuerScope": "Plugin"}}),
    ("tls-duration", {"tls": {"duration": "1h", "renewBefore": "20m"}}),
    ("tls-key", {"tls": {"privateKey": {"algorithm": "RSA", "size": 4096}}}),
    ("tls-names", {"tls": {"dnsNames": ["odd.example.com"]}}),
    ("tls-serverName", {"tls": {"serverName": "odd.example.com"}}),
    ("tls-files", {"tls": {"files": {"server": {"directory": "/odd"}}}}),
    ("tls-trust", {"tls": {"clientTrust": "Root"}}),
    ("tls-reload", {"tls": {"reload": "Restart"}}),
    ("cnpg-deployment", {"cnpg": {"deploymentName": "no-such-deployment"}}),
    ("cnpg-restart-never", {"cnpg": {"restartPolicy": "Never"}}),
    ("cnpg-restart-always", {"cnpg": {"restartPolicy": "Always"}}),
    ("cnpg-refresh", {"cnpg": {"clusterRefresh": "Annotate"}}),
    ("upgradePolicy", {"upgradePolicy": "Manual"}),
    ("handshake-timeout", {"handshake": {"timeout": "1ms"}}),
    ("handshake-interval", {"handshake": {"interval": "1s"}}),
    ("deletionPolicy-delete", {"deletionPolicy": "Delete"}),
    ("deletionPolicy-orphan", {"deletionPolicy": "Orphan"}),
    ("takeOver", {"takeOver": {"serviceName": "no-such-service"}}),
    ("suspend", {"suspend": True}),
    ("mode", {"mode": "Sidecar"}),
)
"""What a user may set by mistake and take back: its name, and the fields. A unit test compares them
with the CRD."""

_MAY_ROLL: Final = {"mode": 4, "cnpg-restart-always": 4}
"""How often CloudNativePG may be rolled because of it."""

_TOUCHED: Final = (f"/services/{NAME}/annotations/cnpgplugin.dev/touched",)
_RESTARTED: Final = (f"/deployments/{NAME}/spec/template/metadata/annotations",)
_ISSUED: Final = tuple(
    f"/secrets/{NAME}-server-tls/annotations/cert-manager.io/{key}"
    for key in ("certificate-name", "issuer-group", "issuer-kind", "issuer-name")
)
_MAY_LEAVE: Final = {
    "service-name": _TOUCHED,
    "service-name-taken": _TOUCHED,
    "tls-provider": _ISSUED,
    "tls-reload": _RESTARTED,
}
"""CloudNativePG may have read the other Service last, and the operator then touches its own. What
pods were restarted for stays: without it, they would be replaced once more. From a Secret that the
operator has taken over, and not issued yet, cert-manager's annotations are gone; cert-manager
writes these four only when it renews."""


def set_for_a_while(fields: dict[str, Any]) -> Disturb:
    """Set fields of the resource, and take that back some seconds later."""

    @asynccontextmanager
    async def disturb(lane: Lane) -> AsyncIterator[asyncio.Event]:
        path = child(lane, "cnpgplugins", NAME)
        before = (await lane.admin.get(path))["spec"]
        await patch(lane, path, {"spec": fields})
        async with happened() as event:
            yield event
        await asyncio.sleep(HOLDING)
        await lane.admin.patch(path, [replace("/spec", before)], JSON_PATCH)

    return disturb


def misoperations(recordings: Recordings) -> Iterator[Plan]:
    """Every field: set, take back, compare with never set."""
    if (recording := recordings.get("steady")) is None:
        return
    for name, fields in MISOPERATIONS:
        yield Plan(
            "misoperation",
            recording.about,
            f"spec/{name}",
            set_for_a_while(fields),
            interrupts=True,
            rolls=_MAY_ROLL.get(name, 0),
            may_leave=_MAY_LEAVE.get(name, ()),
        )
