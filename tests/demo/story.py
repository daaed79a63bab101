"""What the demo shows, step by step, each waiting for the next thing to be true."""

import json
import time
from pathlib import Path

from tests.cluster import Cluster
from tests.cluster.progress import say
from tests.demo import installing
from tests.demo.watching import Object, conditions, is_true, watch

MANIFESTS = Path(__file__).parent / "manifests"
PLUGIN, PLUGIN_NAMESPACE = "sample", installing.CNPG_NAMESPACE
PLUGIN_NAME = "sample.cnpgplugin.dev"
DATABASE, DATABASE_NAMESPACE = "sample-db", "default"
DATABASE_KIND = "clusters.postgresql.cnpg.io"
POSTGRES_IMAGE = "localhost/postgresql:17"
VOLUME = "sample-db"

HEALTHY = "Cluster in healthy state"
PLUGIN_SECONDS = 180.0
DATABASE_SECONDS = 300.0
LOG_LINES = 20


class DemoError(Exception):
    """Something did not become true in time; the message holds what the cluster says about it."""


def show_plugin(cluster: Cluster) -> Object:
    """Apply the plugin and follow its conditions until it is Ready."""
    say(f"applying CNPGPlugin {PLUGIN_NAMESPACE}/{PLUGIN}: its conditions as they turn")
    known: dict[str, tuple[str, str]] = {}
    with watch(cluster, "cnpgplugins.cnpgplugin.dev", PLUGIN_NAMESPACE, PLUGIN) as plugin:
        begun = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "plugin.yaml"))
        for version in plugin.versions(PLUGIN_SECONDS):
            for condition in conditions(version):
                _show_turn(known, condition, time.monotonic() - begun)
            if is_true(version, "Ready"):
                return version
    raise DemoError(
        f"the plugin is not Ready after {PLUGIN_SECONDS:.0f} s.\n" + _explain_plugin(cluster)
    )


def _show_turn(known: dict[str, tuple[str, str]], condition: Object, elapsed: float) -> None:
    """Print a condition if it turned; what was never known is no news."""
    kind, now = condition["type"], (condition["status"], condition["reason"])
    silent = condition["reason"] == "NotYetReported" and kind not in known
    if silent or known.get(kind) == now:
        return
    known[kind] = now
    print(
        f"  +{elapsed:5.1f}s  {kind:<18} {now[0]:<8} {now[1]}: {condition['message']}", flush=True
    )


def show_database(cluster: Cluster) -> Object:
    """Start a PostgreSQL that names the plugin and follow it until it is healthy."""
    where = ["--namespace", DATABASE_NAMESPACE]
    if not cluster.kubectl("get", DATABASE_KIND, DATABASE, *where, "--ignore-not-found"):
        cluster.load_image(POSTGRES_IMAGE)
        cluster.add_volume(VOLUME)
    say(
        f"applying CNPG Cluster {DATABASE_NAMESPACE}/{DATABASE}, PostgreSQL 17, which names the plugin"
    )
    phase = ""
    with watch(cluster, DATABASE_KIND, DATABASE_NAMESPACE, DATABASE) as database:
        begun = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "database.yaml"))
        for version in database.versions(DATABASE_SECONDS):
            status = version.get("status", {})
            if status.get("phase", phase) != phase:
                phase = status["phase"]
                print(f"  +{time.monotonic() - begun:5.1f}s  {phase}", flush=True)
            listed = any(p["name"] == PLUGIN_NAME for p in status.get("pluginStatus", []))
            if phase == HEALTHY and status.get("readyInstances") == 1 and listed:
                return version
    raise DemoError(
        f"the database is not healthy after {DATABASE_SECONDS:.0f} s.\n"
        + _explain_database(cluster)
    )


def _explain_plugin(cluster: Cluster) -> str:
    where = ["--namespace", PLUGIN_NAMESPACE]
    pods = ["--selector", f"cnpgplugin.dev/name={PLUGIN}", "--prefix", f"--tail={LOG_LINES}"]
    operator = ["--namespace", installing.NAMESPACE, f"deployment/{installing.RELEASE}"]
    return _gather(
        cluster,
        ("get", "cnpgplugin", PLUGIN, *where, "-o", "wide"),
        ("get", "pods,certificates,services", *where),
        ("get", "events", *where, "--sort-by=.lastTimestamp"),
        ("logs", *where, *pods),
        ("logs", *operator, f"--tail={LOG_LINES}"),
    )


def _explain_database(cluster: Cluster) -> str:
    where = ["--namespace", DATABASE_NAMESPACE]
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
        except Exception as error:  # noqa: BLE001 - one silent witness must not hide the others
            said = str(error)
        parts.append(f"--- kubectl {' '.join(command)}\n{said.rstrip()}")
    return "\n".join(parts)


def tell(cluster: Cluster, plugin: Object, database: Object) -> str:
    """What CloudNativePG says of the plugin, and how to look around."""
    facts = plugin["status"]["plugin"]
    listed = next(p for p in database["status"]["pluginStatus"] if p["name"] == PLUGIN_NAME)
    events = cluster.kubectl(
        *("get", "events", "--namespace", PLUGIN_NAMESPACE),
        *("--field-selector", f"involvedObject.kind=Service,involvedObject.name={PLUGIN}"),
        *("-o", r"custom-columns=REASON:.reason,FROM:.source.component,MESSAGE:.message"),
    )
    resource = cluster.kubectl(
        "get", "cnpgplugin", PLUGIN, "--namespace", PLUGIN_NAMESPACE, "-o", "wide"
    )
    return "\n".join(
        [
            "",
            f"Ready=True: {facts['name']} {facts['version']}",
            "",
            resource.rstrip(),
            "",
            f"What CloudNativePG reports of it in Cluster {DATABASE} (status.pluginStatus):",
            json.dumps(listed, indent=2),
            f"and in its Events on Service {PLUGIN}:",
            events.rstrip() or "(none: this version writes no Events)",
            "",
            _look_around(cluster.name),
        ]
    )


def _look_around(name: str) -> str:
    option = "" if name == "dev" else f" --name {name}"
    tool = f"python3 -m tests.cluster{option}"
    plugin = f"--namespace {PLUGIN_NAMESPACE}"
    operator = f"--namespace {installing.NAMESPACE} deployment/{installing.RELEASE}"
    lines = (
        "Everything is left running. To look around:",
        f"  {tool} kubectl describe cnpgplugin {PLUGIN} {plugin}",
        f"  {tool} kubectl get all,certificates,issuers {plugin}",
        f"  {tool} kubectl explain cnpgplugin.spec",
        f"  {tool} kubectl logs {operator}",
        f"  {tool} kubectl exec {DATABASE}-1 -- psql -c 'select version()'",
        "Make it answer under another name, see what the status says, and mend it:",
        f"  {tool} kubectl patch cnpgplugin {PLUGIN} {plugin} --type merge \\",
        """    -p '{"spec":{"env":[{"name":"SAMPLE_NAME","value":"other.example.com"}]}}'""",
        f"  {tool} kubectl get cnpgplugin {PLUGIN} {plugin} -o wide --watch",
        f'  {tool} kubectl patch cnpgplugin {PLUGIN} {plugin} --type merge -p \'{{"spec":{{"env":[]}}}}\'',
        "To remove all of it: make demo-down",
    )
    return "\n".join(lines)
