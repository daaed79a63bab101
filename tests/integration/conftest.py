"""Fixtures of the tests against a real API server."""

import pytest

from tests.cluster import Cluster
from tests.support.e2e.installation import apply_crd, stop_operator


@pytest.fixture(scope="session")
def cluster(cluster: Cluster) -> Cluster:
    """The cluster with this tree's CRD, in the way that Helm accepts as its own.

    So the tests that install the CRD find it there and leave it, and the chart's installation for
    the tests that need a running operator takes it over. An operator that an earlier run left
    behind is stopped: it would write its own status over the tests'.
    """
    stop_operator(cluster)
    apply_crd(cluster)
    return cluster
