"""What the cluster says when something did not become true in time."""

from tests.cluster import Cluster, ClusterError
from tests.demo import installing

LOG_LINES = 20
MOST_LINES = 30
"""Of any one command: the newest are the last."""


def explain_plugin(cluster: Cluster, namespace: str, name: str) -> str:
    """Everything between the resource and the plugin's own log."""
    where = ["--namespace", namespace]
    pods = ["--selector", f"cnpgplugin.dev/name={name}", "--prefix", f"--tail={LOG_LINES}"]
    operator = ["--namespace", installing.NAMESPACE, f"deployment/{installing.RELEASE}"]
    return _gather(
        cluster,
        ("get", "cnpgplugin", name, *where, "-o", "wide"),
        ("get", "pods,certificates,services", *where),
        ("get", "events", *where, "--sort-by=.lastTimestamp"),
        ("logs", *where, *pods),
        ("logs", *operator, f"--tail={LOG_LINES}"),
    )


def explain_database(cluster: Cluster, namespace: str) -> str:
    """The Cluster, its pods, and what CloudNativePG logs."""
    where = ["--namespace", namespace]
    manager = ["--namespace", installing.CNPG_NAMESPACE, "deployment/cnpg-controller-manager"]
    return _gather(
        cluster,
        ("get", "cluster,pods,persistentvolumeclaims", *where, "-o", "wide"),
        ("get", "events", *where, "--sort-by=.lastTimestamp"),
        ("logs", *manager, f"--tail={LOG_LINES}"),
    )


def _gather(cluster: Cluster, *commands: tuple[str, ...]) -> str:
    """What these kubectl commands say, errors included: this is read when something is wrong."""
    parts = []
    for command in commands:
        try:
            said = cluster.kubectl(*command)
        except ClusterError as error:  # one silent witness must not hide the others
            said = str(error)
        lines = said.rstrip().splitlines()[-MOST_LINES:]
        parts.append("\n".join([f"--- kubectl {' '.join(command)}", *lines]))
    return "\n".join(parts)
