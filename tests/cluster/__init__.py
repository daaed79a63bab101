"""A real Kubernetes cluster for tests and the demo, built and run on this machine.

`python3 -m tests.cluster up` from a shell, `Cluster("test").up()` from Python. It uses only the
standard library, so that it runs before the project itself is installed.
"""

from tests.cluster.cluster import DEFAULT_CNPG, Cluster, Status
from tests.cluster.errors import ClusterError

__all__ = ["DEFAULT_CNPG", "Cluster", "ClusterError", "Status"]
