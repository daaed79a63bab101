"""Makes the API server refuse one write of the operator, so that a test can kill it just before.

A watch reports a write when the next one may already be in progress. A refused write has no effect:
an operator that is killed then has died between that write and the one before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.errors import fails
from tests.support import wait
from tests.support.e2e.operator import Operator
from tests.support.e2e.remains import present
from tests.support.resources import NAMESPACE

_NAME: Final = "e2e-refusing"
_CANARY: Final = "e2e-canary"
_API: Final = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Write:
    """A write of the operator."""

    group: str
    resource: str
    """With its subresource, as in RBAC rules."""
    name: str
    passes: str = "false"
    """CEL: other writes of the same object that are allowed."""


@contextmanager
def refused(operator: Operator, write: Write) -> Iterator[None]:
    """Refuse a write of the operator, until the end."""
    with present(operator.cluster, *_policy(operator.account, write)):
        wait.until("the API server refuses", lambda: _is_enforced(operator), within=30)
        yield


def until_refused(operator: Operator, write: Write, since: int, *, within: float) -> None:
    """Wait until the operator has tried, which it does repeatedly."""
    wait.until(
        f"the operator tries to write {write.resource} {write.name}",
        lambda: [
            request
            for request in operator.audit.writes(since)
            if (request.resource, request.name) == (write.resource, write.name)
            and request.is_refused
        ],
        within=within,
        explain=operator.log_tail,
        pause=0.02,
    )


def _is_enforced(operator: Operator) -> bool:
    """Whether the API server has read the policy: it refuses an object that exists only for this
    check.
    """
    flags = ("--namespace", NAMESPACE, "--dry-run=server", f"--as={operator.account}")
    creating = ("create", "service", "clusterip", _CANARY, "--tcp=80", *flags)
    return fails(_NAME, lambda: operator.cluster.kubectl(*creating))


def _policy(account: str, write: Write) -> list[dict[str, Any]]:
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [resource],
        }
        for group, resource in ((write.group, write.resource), ("", "services"))
    ]
    conditions = {
        "the-operator": f"request.userInfo.username == '{account}'",
        "the-object": f"request.name in ['{write.name}', '{_CANARY}']",
        "the-kind": (
            f"request.name == '{_CANARY}' || "
            f"request.resource.resource == '{write.resource.partition('/')[0]}'"
        ),
    }
    expression = f"request.name != '{_CANARY}' && ({write.passes})"
    policy = {
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": k, "expression": v} for k, v in conditions.items()],
        "validations": [{"expression": expression, "message": "refused by a test"}],
    }
    metadata = {"name": _NAME}
    binding = {"policyName": _NAME, "validationActions": ["Deny"]}
    return [
        {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": policy,
        },
        {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": binding,
        },
    ]
