"""Makes the API server refuse objects with a certain container, like an administrator's policy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.support import wait
from tests.support.e2e.api import APPS, CORE, Api, ApiError
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.remains import present
from tests.support.resources import NAMESPACE

_API: Final = "admissionregistration.k8s.io/v1"

_POD: Final = {"containers": [{"name": "main", "image": "localhost/none:1"}]}


@contextmanager
def refusing_containers(plugins: Plugins, container: str, *, within: str) -> Iterator[None]:
    """Refuse `pods` or `deployments` with such an init container, until the end."""
    with present(plugins.operator.cluster, *_policy(container, within)):
        wait.until("it is refused", lambda: _is_refused(plugins.api, container, within), within=30)
        yield


def _policy(container: str, resource: str) -> list[dict[str, Any]]:
    name = f"e2e-no-{container}-in-{resource}"
    group = "apps" if resource == "deployments" else ""
    spec = "object.spec.template.spec" if group else "object.spec"
    rule = {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }
    expression = (
        f"!has({spec}.initContainers) || {spec}.initContainers.all(c, c.name != '{container}')"
    )
    where = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    return [
        {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": expression, "message": "not here, says the test"}],
            },
        },
        {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": where},
            },
        },
    ]


def _is_refused(api: Api, container: str, resource: str) -> bool:
    """Whether the API server has read the policy."""
    spec = {**_POD, "initContainers": [{"name": container, "image": "localhost/none:1"}]}
    path, body = f"{CORE}/namespaces/{NAMESPACE}/pods", {"kind": "Pod", "spec": spec}
    version = "v1"
    if resource == "deployments":
        path, version = f"{APPS}/namespaces/{NAMESPACE}/deployments", "apps/v1"
        labels = {"app": "e2e-canary"}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {
            "kind": "Deployment",
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
    body = {"apiVersion": version, "metadata": {"name": "e2e-canary"}, **body}
    try:
        api.create(f"{path}?dryRun=All", body)
    except ApiError as error:
        return "not here, says the test" in str(error)
    return False
