"""What kubectl shows when the demo runs into a timeout."""

from tests.cluster import ClusterError
from tests.demo import installing
from tests.demo.watching import Kubectl

LOG_LINES = 20
MOST_LINES = 30
"""Of each command; the newest lines are the last."""


def explain_plugin(cluster: Kubectl, namespace: str, name: str) -> str:
    """Collect everything between the resource and the plugin's own log."""
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


def explain_database(cluster: Kubectl, namespace: str) -> str:
    """Collect the Cluster, its pods, and the log of CloudNativePG."""
    where = ["--namespace", namespace]
    manager = ["--namespace", installing.CNPG_NAMESPACE, "deployment/cnpg-controller-manager"]
    return _gather(
        cluster,
        ("get", "cluster,pods,persistentvolumeclaims", *where, "-o", "wide"),
        ("get", "events", *where, "--sort-by=.lastTimestamp"),
        ("logs", *manager, f"--tail={LOG_LINES}"),
    )


def _gather(cluster: Kubectl, *commands: tuple[str, ...]) -> str:
    """Collect the output of these kubectl commands, errors included."""
    parts = []
    for command in commands:
        try:
            said = cluster.kubectl(*command)
        except ClusterError as error:  # one failed command must not hide the others
            said = str(error)
        lines = said.rstrip().splitlines()[-MOST_LINES:]
        parts.append("\n".join([f"--- kubectl {' '.join(command)}", *lines]))
    return "\n".join(parts)
