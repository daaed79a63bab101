"""The operator used every right that the chart grants in this run of the end-to-end tests.

Runs last and only with all other modules (see conftest), because some of them use only some rights.
Waits for those that run concurrently, each in its own cluster, and reads all their audit logs.
"""

import pytest

from tests.support.e2e import whole_run
from tests.support.e2e.installation import OPERATOR_NAMESPACE, RELEASE
from tests.support.e2e.operator import ACCOUNT, Operator
from tests.support.rights import Granted, Right, Uses, read_granted, read_uses

pytestmark = [pytest.mark.cnpg("any"), pytest.mark.looks_back]

UNSEEN = {
    Right("cnpgplugin.dev", "cnpgplugins/finalizers", "update"): (
        "an admission plugin that this cluster does not run looks for it, without a request"
    ),
}
"""Rights that never appear in an audit log, and why they are needed nevertheless."""

REFUSED = {
    Right("", "pods", "delete"): "test_restart_safety, before it says that CloudNativePG is OLM's",
}
"""Requests that a test lets the operator make without the right."""


@pytest.fixture(scope="module")
def granted(operator: Operator) -> set[Granted]:
    return read_granted(operator.api, OPERATOR_NAMESPACE, RELEASE)


@pytest.fixture(scope="module")
def uses(request: pytest.FixtureRequest) -> Uses:
    items = request.session.items
    whole_run.until_finished({item.nodeid for item in items if item.path != request.path})
    each = [read_uses(log, ACCOUNT, began) for log, began in whole_run.audit_logs()]
    return Uses(
        frozenset().union(*(uses.granted for uses in each)),
        frozenset().union(*(uses.refused for uses in each)),
    )


def test_every_granted_right_is_used(granted: set[Granted], uses: Uses) -> None:
    unused = sorted(each for each in uses.find_unused(granted) if each.right not in UNSEEN)
    assert not unused, "granted and not used:\n" + "\n".join(map(str, unused))


def test_no_used_right_is_listed_as_unseen(granted: set[Granted], uses: Uses) -> None:
    assert {each.right for each in uses.find_unused(granted)} >= UNSEEN.keys()


def test_the_operator_requested_nothing_without_the_right(
    granted: set[Granted], uses: Uses
) -> None:
    """A right that a test removed for a while is restored."""
    refused = [
        each
        for each in sorted(uses.refused)
        if each.right not in REFUSED and not any(own.covers(each) for own in granted)
    ]
    assert not refused, "asked for without the right to it:\n" + "\n".join(map(str, refused))
