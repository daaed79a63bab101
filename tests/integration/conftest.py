"""Fixtures of the tests against a real API server."""

import pytest

from tests.cluster import Cluster
from tests.support.cluster_fixture import apply_crd


@pytest.fixture(scope="session")
def cluster(cluster: Cluster) -> Cluster:
    """The cluster with this tree's CRD, in the way that Helm accepts as its own.

    So the tests that install the CRD find it there and leave it, and the chart's installation for
    the tests that need a running operator takes it over.
    """
    apply_crd(cluster)
    return cluster
