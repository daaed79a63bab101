"""What the chart grants is what the operator used in this run of the end-to-end tests.

Comes last and only with all the other modules (see conftest): a part of them uses a part. Waits for
those that run beside it, each in a cluster of its own, and reads all their audit logs.
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
"""Granted, and in no run in the audit log: why it is needed all the same."""

REFUSED = {
    Right("", "pods", "delete"): "test_restart_safety, before it says that CloudNativePG is OLM's",
}
"""What a test lets the operator try without the right to it."""


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


def test_every_right_that_the_operator_has_is_used(granted: set[Granted], uses: Uses) -> None:
    unused = sorted(each for each in uses.find_unused(granted) if each.right not in UNSEEN)
    assert not unused, "granted and not used:\n" + "\n".join(map(str, unused))


def test_no_right_that_was_used_is_called_unseen(granted: set[Granted], uses: Uses) -> None:
    assert {each.right for each in uses.find_unused(granted)} >= UNSEEN.keys()


def test_the_operator_asked_for_nothing_that_it_may_not(granted: set[Granted], uses: Uses) -> None:
    """A right that a test takes away for a while is there again."""
    refused = [
        each
        for each in sorted(uses.refused)
        if each.right not in REFUSED and not any(own.covers(each) for own in granted)
    ]
    assert not refused, "asked for without the right to it:\n" + "\n".join(map(str, refused))
