"""What a test does with `CNPGPlugin`s: apply them, wait for their conditions, delete them again.

A failed wait shows what a user would check: conditions, events, pods, the operator's log.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support import wait
from tests.support.e2e.api import (
    APPS,
    CERT_MANAGER,
    CNPG,
    CORE,
    PLUGINS,
    RBAC,
    Api,
    Object,
)
from tests.support.e2e.operator import Operator, output_of
from tests.support.e2e.remains import marked
from tests.support.resources import NAMESPACE, Manifest, plugin_name

LABEL: Final = "cnpg.io/pluginName"
"""The Service label that CloudNativePG registers plugins by."""

FURTHER_PASSES: Final = 4
"""How many passes prove that something never happens."""

_COLLECTIONS: Final = {
    "CNPGPlugin": (PLUGINS, "cnpgplugins"),
    "Cluster": (CNPG, "clusters"),
    "Service": (CORE, "services"),
    "Secret": (CORE, "secrets"),
    "ServiceAccount": (CORE, "serviceaccounts"),
    "Pod": (CORE, "pods"),
    "Event": (CORE, "events"),
    "Deployment": (APPS, "deployments"),
    "Certificate": (CERT_MANAGER, "certificates"),
    "Issuer": (CERT_MANAGER, "issuers"),
    "RoleBinding": (RBAC, "rolebindings"),
    "Role": (RBAC, "roles"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
}


def collection(kind: str, namespace: str = NAMESPACE) -> str:
    """Path of a kind's objects in a namespace."""
    root, plural = _COLLECTIONS[kind]
    return f"{root}/namespaces/{namespace}/{plural}"


def conditions(resource: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of a resource by their type."""
    found = resource.get("status", {}).get("conditions", [])
    return {condition["type"]: condition for condition in found}


def is_ready(resource: Mapping[str, Any] | None) -> bool:
    """Whether the present generation of a resource is Ready."""
    if resource is None:
        return False
    ready = conditions(resource).get("Ready", {})
    current = ready.get("observedGeneration") == resource["metadata"]["generation"]
    return current and ready.get("status") == "True"


def is_labelled(service: Mapping[str, Any]) -> bool:
    """Whether CloudNativePG sees a plugin in the Service."""
    return LABEL in (service["metadata"].get("labels") or {})


@dataclass
class Plugins:
    """The resources of one test, or of one module's tests."""

    operator: Operator
    made: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """Kind, namespace and name of the objects to delete at the end, in the order of creation."""

    @property
    def api(self) -> Api:
        """The API server."""
        return self.operator.api

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl as the administrator."""
        return self.operator.cluster.kubectl(*arguments, input=input)

    def apply(self, *manifests: Manifest) -> None:
        """`kubectl apply` objects, and delete them at the end."""
        for manifest in manifests:
            metadata = manifest["metadata"]
            self.made[manifest["kind"], metadata["namespace"], metadata["name"]] = None
        listing = {"apiVersion": "v1", "kind": "List", "items": [marked(m) for m in manifests]}
        self.kubectl("apply", "-f", "-", input=json.dumps(listing))

    def patch(self, name: str, **spec: object) -> None:
        """Change the spec of a resource."""
        self.api.patch(f"{collection('CNPGPlugin')}/{name}", {"spec": spec})

    def find(self, kind: str, name: str, namespace: str = NAMESPACE) -> Object | None:
        """Read an object, or None where there is none."""
        return self.api.find(f"{collection(kind, namespace)}/{name}")

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Object:
        """Read an object that exists."""
        return self.api.get(f"{collection(kind, namespace)}/{name}")

    def plugin(self, name: str, namespace: str = NAMESPACE) -> Object:
        """Read a `CNPGPlugin`."""
        return self.get("CNPGPlugin", name, namespace)

    def condition(self, name: str, kind: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """Read one condition of a `CNPGPlugin`; empty where it was not reported yet."""
        return conditions(self.plugin(name, namespace)).get(kind, {})

    def labelled(self, service: str) -> bool:
        """Whether the Service is published to CloudNativePG."""
        found = self.find("Service", service)
        return found is not None and is_labelled(found)

    def until_ready(self, *names: str, within: float = 60) -> None:
        """Wait until resources are Ready."""
        for name in names:
            wait.until(
                f"{name} is Ready",
                lambda name=name: is_ready(self.plugin(name)),  # type: ignore[misc]
                within=within,
                explain=lambda name=name: self.explain(name),  # type: ignore[misc]
            )

    def until_condition(
        self, name: str, kind: str, reason: str, *, within: float, namespace: str = NAMESPACE
    ) -> dict[str, Any]:
        """Wait until a condition has a reason; return it."""

        def look() -> dict[str, Any] | None:
            found = self.condition(name, kind, namespace)
            return found if found.get("reason") == reason else None

        return wait.until(
            f"{kind} of {name} has the reason {reason}",
            look,
            within=within,
            explain=lambda: self.explain(name, namespace),
        )

    def never(self, what: str, look: Callable[[], object], *, of: str) -> None:
        """Request further passes over a plugin, and fail if anything (true) is found after one.

        A fixed time might not suffice for a single pass on a busy machine. There is a second
        between them, so that they take longer than the settle time and the cool-down in the tests.
        """
        path = f"{collection('CNPGPlugin')}/{of}"
        for number in range(FURTHER_PASSES):
            before = self.operator.passes()
            self.api.patch(path, {"metadata": {"annotations": {"example.com/look": f"{number}"}}})
            wait.until(
                f"another pass over {of}",
                lambda before=before: self.operator.passes() > before,  # type: ignore[misc]
                within=60,
                explain=lambda: self.explain(of),
            )
            wait.never(what, look, seconds=1)

    def until_reported(self, name: str, cluster: str, version: str, *, within: float) -> None:
        """Wait until a Cluster shows a version of the plugin: CloudNativePG has called it."""

        def shown() -> bool:
            status = self.get("Cluster", cluster, "default").get("status", {})
            found = {p["name"]: p.get("version") for p in status.get("pluginStatus") or []}
            return found.get(plugin_name(name)) == version

        wait.until(
            f"Cluster {cluster} shows version {version}",
            shown,
            within=within,
            explain=lambda: (
                f"{self.get('Cluster', cluster, 'default').get('status')}\n{self.explain(name)}"
            ),
        )

    def until_gone(
        self, kind: str, name: str, *, within: float, namespace: str = NAMESPACE
    ) -> None:
        """Wait until an object is gone."""
        wait.until(
            f"{kind} {name} is gone",
            lambda: self.find(kind, name, namespace) is None,
            within=within,
            explain=lambda: self.explain(name, namespace),
        )

    def delete(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        """Request the deletion of an object, without waiting for it."""
        self.api.delete(f"{collection(kind, namespace)}/{name}")

    def remove(self, *names: str, within: float = 60) -> None:
        """Delete `CNPGPlugin`s and wait until they are gone."""
        for name in names:
            self.delete("CNPGPlugin", name)
        for name in names:
            self.until_gone("CNPGPlugin", name, within=within)

    def clean_up(self) -> None:
        """Delete everything that was applied; Clusters before the plugins that they use."""
        kinds = [key[0] for key in self.made]
        order = sorted(set(kinds), key=lambda kind: {"Cluster": 0, "CNPGPlugin": 1}.get(kind, 2))
        for kind in order:
            keys = [key for key in reversed(self.made) if key[0] == kind]
            for _, namespace, name in keys:
                self.delete(kind, name, namespace)
            for _, namespace, name in keys:
                self.until_gone(kind, name, within=90, namespace=namespace)
        self.made.clear()

    def explain(self, name: str, namespace: str = NAMESPACE) -> str:
        """Everything that helps to find out why a plugin is not as expected."""
        found = self.find("CNPGPlugin", name, namespace)
        reported = [
            f"  {c['type']:20} {c['status']:8} {c['reason']}: {c['message']}"
            for c in (conditions(found) if found else {}).values()
        ]
        events = [
            f"  {event.get('type')} {event.get('reason')} "
            f"{event['involvedObject'].get('kind')}/{event['involvedObject'].get('name')}: "
            f"{event.get('message')}"
            for event in self.api.list(f"{CORE}/namespaces/{namespace}/events")
            if name in str(event["involvedObject"].get("name"))
        ]
        flags = ("--namespace", namespace, f"--selector=cnpgplugin.dev/name={name}")
        kinds = "deployments,pods,services,certificates.cert-manager.io"
        children = output_of(self.operator.cluster.kubectl_argv("get", kinds, *flags, "-o", "wide"))
        return "\n".join(
            [
                f"CNPGPlugin {namespace}/{name}:" if found else f"no CNPGPlugin {name}",
                *reported,
                f"metadata: {json.dumps(found['metadata'])}" if found else "",
                "events:",
                *events[-15:],
                children,
                self.operator.log_tail(),
            ]
        )
