"""Which fields have an effect in mode Sidecar: those of a container in CloudNativePG's pod."""

from typing import Any

import pytest

from cnpg_plugin_operator.api.plugin import parse_plugin
from cnpg_plugin_operator.api.rules import SIDECAR_FIELDS
from cnpg_plugin_operator.api.spec import Spec
from cnpg_plugin_operator.errors import InvalidSpecError
from tests.support.unit.builders import resource

PROBE = {"tcpSocket": {"port": 8081}}

FOREIGN: list[tuple[str, dict[str, Any], str]] = [
    ("a port", {"port": 9091}, "spec.port"),
    ("replicas", {"replicas": 2}, "spec.replicas"),
    ("a strategy", {"strategy": {"type": "RollingUpdate"}}, "spec.strategy"),
    ("a pod template", {"podTemplate": {"spec": {}, "metadata": {}}}, "spec.podTemplate"),
    ("a security context of the pod", {"podSecurityContext": {"fsGroup": 1}},
     "spec.podSecurityContext"),
    ("labels of the pod", {"podLabels": {"a": "b"}}, "spec.podLabels"),
    ("annotations of the pod", {"podAnnotations": {"a": "b"}}, "spec.podAnnotations"),
    ("a node selector", {"nodeSelector": {"a": "b"}}, "spec.nodeSelector"),
    ("tolerations", {"tolerations": [{"operator": "Exists"}]}, "spec.tolerations"),
    ("an affinity", {"affinity": {"nodeAffinity": {}}}, "spec.affinity"),
    ("a priority", {"priorityClassName": "high"}, "spec.priorityClassName"),
    ("a Service", {"service": {"name": "x"}}, "spec.service"),
    ("a take-over", {"takeOver": {"serviceName": "x"}}, "spec.takeOver"),
    ("certificates", {"tls": {"provider": "SelfManaged"}}, "spec.tls"),
    ("ClusterRoles", {"clusterRoles": ["viewer"]}, "spec.clusterRoles"),
    ("Roles", {"roles": ["viewer"]}, "spec.roles"),
    ("an account of its own", {"serviceAccount": {"create": True}}, "spec.serviceAccount"),
    ("annotations of an account", {"serviceAccount": {"annotations": {"a": "b"}}},
     "spec.serviceAccount"),
    ("a plugin that remains", {"deletionPolicy": "Orphan"}, "spec.deletionPolicy"),
    ("a startup probe", {"probes": {"startup": PROBE}}, "spec.probes.startup"),
    ("a readiness probe", {"probes": {"readiness": PROBE}}, "spec.probes.readiness"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "field"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN]
)
def test_fields_of_a_pod_are_refused_in_mode_sidecar(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError, match=field):
        parse_plugin(resource(mode="Sidecar", **spec))
    parse_plugin(resource(mode="Standalone", **spec))


def test_a_change_of_mode_names_all_fields_to_remove_at_once() -> None:
    spec: dict[str, Any] = {"port": 9091, "replicas": 2, "podLabels": {"a": "b"}, "roles": ["a"],
            "service": {"name": "x"}, "tls": {"provider": "SelfManaged"}}  # fmt: skip

    with pytest.raises(InvalidSpecError) as refused:
        parse_plugin(resource(mode="Sidecar", **spec))

    for field in spec:
        assert f"spec.{field}" in str(refused.value)
    assert "all of them at once" in str(refused.value)


MEANT: list[tuple[str, dict[str, Any]]] = [
    ("nothing else", {}),
    ("defaults that the API server fills in",
     {"port": 9090, "replicas": 1, "deletionPolicy": "WaitForClusters", "serviceAccount": {},
      "service": {}, "probes": {}, "podLabels": {}, "tolerations": []}),
    ("a liveness probe", {"probes": {"liveness": PROBE}}),
    ("CloudNativePG's account", {"serviceAccount": {"name": "cnpg-manager"}}),
    ("an account that is not to be made", {"serviceAccount": {"create": False}}),
    ("a container", {"command": ["/x"], "args": ["a"], "env": [{"name": "A", "value": "1"}],
                     "resources": {"limits": {"cpu": "1"}},
                     "securityContext": {"readOnlyRootFilesystem": False},
                     "volumes": [{"name": "x", "emptyDir": {}}],
                     "volumeMounts": [{"name": "x", "mountPath": "/x"}]}),
    ("policies", {"cnpg": {"restartPolicy": "Never", "deploymentName": "cnpg"},
                  "upgradePolicy": "Manual", "suspend": True, "handshake": {"timeout": "1s"}}),
]  # fmt: skip


@pytest.mark.parametrize("spec", [row[1] for row in MEANT], ids=[row[0] for row in MEANT])
def test_fields_of_a_container_are_accepted_in_mode_sidecar(spec: dict[str, Any]) -> None:
    assert parse_plugin(resource(mode="Sidecar", **spec)).is_sidecar


def test_every_accepted_field_exists() -> None:
    assert Spec.model_fields.keys() >= SIDECAR_FIELDS
