"""Fixtures of the tests against a real API server."""

import pytest

from tests.cluster import Cluster
from tests.support.e2e.installation import apply_crd, stop_operator


@pytest.fixture(scope="session")
def cluster(cluster: Cluster) -> Cluster:
    """The cluster with this tree's CRD, marked so that Helm accepts it as its own.

    The tests that install the CRD find it and keep it, and the chart's installation for the tests
    that need a running operator adopts it. An operator of an earlier run is stopped, because it
    would overwrite the status of the tests.
    """
    stop_operator(cluster)
    apply_crd(cluster)
    return cluster
