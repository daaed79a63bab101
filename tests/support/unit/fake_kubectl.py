"""A kubectl whose cluster is in memory; what it was asked to run in pods is recorded."""

from typing import Any

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.answers import well_formed
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.kubectl.access import Done, Kubectl
from tests.support.unit.fake_cluster import FakeCluster, selects


class FakeKubectl(Kubectl):
    """Reads and changes the objects of a fake cluster."""

    def __init__(self, cluster: FakeCluster, *, answer: Done | None = None) -> None:
        super().__init__(["kubectl-of-no-test"])
        self.cluster = cluster
        self.answer = answer or Done(0, "{}")
        self.ran: list[tuple[str, ...]] = []
        """Namespace, target, container and words of each command in a pod."""
        self.forbidden: set[Kind] = set()
        self.log = "started\n"

    def namespace(self) -> str:
        return "cnpg-system"

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
    ) -> list[dict[str, Any]]:
        if kind in self.forbidden:
            raise errors.ForbiddenError(f"ada lacks the right to list {kind.plural}")
        if kind.kind in self.cluster.missing:
            raise errors.KindMissingError(kind.plural)
        return [
            body
            for body in self.cluster.all_of(kind)
            if namespace in (None, body["metadata"].get("namespace")) and selects(labels, body)
        ]

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        return well_formed(self.cluster.the(kind, name, namespace or ""))

    def versions(self) -> dict[str, Any]:
        return {"serverVersion": {"gitVersion": self.cluster.kubernetes}}

    def annotate(self, kind: Kind, name: str, namespace: str, key: str, value: str) -> None:
        metadata = self.cluster.the(kind, name, namespace)["metadata"]
        metadata.setdefault("annotations", {})[key] = value

    def patch_status(self, kind: Kind, name: str, namespace: str, change: Any) -> None:
        live = self.cluster.the(kind, name, namespace)
        given = change["metadata"]["resourceVersion"]
        assert given == live["metadata"]["resourceVersion"], "it has changed meanwhile"
        live.setdefault("status", {}).update(change["status"])

    def execute(self, namespace: str, target: str, container: str, command: Any) -> Done:
        self.ran.append((namespace, target, container, *command))
        return self.answer

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        return self.log


def install_operator(
    cluster: FakeCluster,
    *,
    namespace: str = "operators",
    manages: str = "cnpg-system",
    available: int = 1,
    extra: tuple[dict[str, str], ...] = (),
) -> None:
    """Put the chart's Deployment and its pod into the cluster."""
    labels = {"app.kubernetes.io/part-of": "cnpg-plugin-operator"}
    env = [{"name": "CNPGP_NAMESPACES", "value": manages}, *extra]
    container = {"name": "operator", "image": "example.org/operator:1", "env": env}
    cluster.put(
        kinds.DEPLOYMENT,
        {
            "metadata": {"name": "operator", "namespace": namespace, "labels": labels},
            "spec": {
                "selector": {"matchLabels": {"app": "operator"}},
                "template": {"spec": {"containers": [{"name": "mesh"}, container]}},
            },
            "status": {"availableReplicas": available},
        },
    )
    cluster.put(
        kinds.POD,
        {
            "metadata": {
                "name": "operator-0",
                "namespace": namespace,
                "labels": {"app": "operator"},
            },
            "status": {"containerStatuses": [{"name": "operator", "restartCount": 1}]},
        },
    )
