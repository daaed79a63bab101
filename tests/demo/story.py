"""What the demo shows, step by step: each step waits for a condition."""

import json
import time
from pathlib import Path

from tests.cluster import Cluster
from tests.cluster.progress import heartbeat, say
from tests.demo import installing
from tests.demo.diagnosis import explain_database, explain_plugin
from tests.demo.watching import Kubectl, Object, conditions, is_true, watch

MANIFESTS = Path(__file__).parent / "manifests"
PLUGIN, PLUGIN_NAMESPACE = "sample", installing.CNPG_NAMESPACE
PLUGIN_NAME = "sample.cnpgplugin.dev"
DATABASE, DATABASE_NAMESPACE = "sample-db", "default"
DATABASE_KIND = "clusters.postgresql.cnpg.io"
POSTGRES_IMAGE = "localhost/postgresql:17"

REPEATING = ("Reconciling", "Stalled")
"""They tell tools whether it is worth waiting for Ready, and are removed without a message."""

HEALTHY = "Cluster in healthy state"
PLUGIN_SECONDS = 180.0
DATABASE_SECONDS = 300.0


class DemoError(Exception):
    """A step timed out; the message contains what kubectl shows about it."""


def show_plugin(cluster: Cluster) -> Object:
    """Apply the sample plugin and follow its conditions until it is Ready."""
    return follow_plugin(cluster, PLUGIN, (MANIFESTS / "plugin.yaml").read_text())


def follow_plugin(cluster: Kubectl, name: str, manifest: str) -> Object:
    """Apply a plugin and follow its conditions until it is Ready."""
    installing.await_leader(cluster)
    say(f"applying CNPGPlugin {PLUGIN_NAMESPACE}/{name}: its conditions as they change")
    known: dict[str, tuple[str, str]] = {}
    with watch(cluster, "cnpgplugins.cnpgplugin.dev", PLUGIN_NAMESPACE, name) as plugin:
        begun = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest)
        for version in plugin.versions(PLUGIN_SECONDS):
            for condition in conditions(version):
                _show_turn(known, condition, time.monotonic() - begun)
            if is_true(version, "Ready"):
                return version
    raise DemoError(
        f"the plugin is not Ready after {PLUGIN_SECONDS:.0f} s.\n"
        + explain_plugin(cluster, PLUGIN_NAMESPACE, name)
    )


def _show_turn(known: dict[str, tuple[str, str]], condition: Object, elapsed: float) -> None:
    """Print a condition if it changed; skip what was never reported, and what repeats Ready."""
    kind, now = condition["type"], (condition["status"], condition["reason"])
    silent = condition["reason"] == "NotYetReported" and kind not in known
    silent = silent or kind in REPEATING
    if silent or known.get(kind) == now:
        return
    known[kind] = now
    print(
        f"  +{elapsed:5.1f}s  {kind:<18} {now[0]:<8} {now[1]}: {condition['message']}", flush=True
    )


def show_database(cluster: Cluster) -> Object:
    """Start a PostgreSQL that uses the sample plugin and follow it until it is healthy."""
    if not _exists(cluster, DATABASE):
        with heartbeat(f"loading {POSTGRES_IMAGE}"):
            cluster.load_image(POSTGRES_IMAGE)
    provide_volume(cluster, DATABASE)
    manifest = (MANIFESTS / "database.yaml").read_text()
    return follow_database(cluster, DATABASE, manifest, PLUGIN_NAME)


def provide_volume(cluster: Cluster, database: str) -> None:
    """Create the volume of a database, unless the database exists."""
    if not _exists(cluster, database):
        cluster.add_volume(database)


def _exists(cluster: Cluster, database: str) -> bool:
    where = ["--namespace", DATABASE_NAMESPACE, "--ignore-not-found"]
    return bool(cluster.kubectl("get", DATABASE_KIND, database, *where))


def follow_database(cluster: Kubectl, name: str, manifest: str, plugin_name: str) -> Object:
    """Start a PostgreSQL that uses a plugin and follow it until it is healthy."""
    say(f"applying CNPG Cluster {DATABASE_NAMESPACE}/{name}: PostgreSQL 17 with the plugin")
    phase = ""
    with watch(cluster, DATABASE_KIND, DATABASE_NAMESPACE, name) as database:
        begun = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest)
        for version in database.versions(DATABASE_SECONDS):
            status = version.get("status", {})
            if status.get("phase", phase) != phase:
                phase = status["phase"]
                print(f"  +{time.monotonic() - begun:5.1f}s  {phase}", flush=True)
            listed = any(p["name"] == plugin_name for p in status.get("pluginStatus", []))
            if phase == HEALTHY and status.get("readyInstances") == 1 and listed:
                return version
    raise DemoError(
        f"the database is not healthy after {DATABASE_SECONDS:.0f} s.\n"
        + explain_database(cluster, DATABASE_NAMESPACE)
    )


def describe(cluster: Cluster, plugin: Object, database: Object) -> str:
    """Describe what CloudNativePG reports about the plugin, and what to try next."""
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
            f"CloudNativePG reports the plugin in Cluster {DATABASE} (status.pluginStatus):",
            json.dumps(listed, indent=2),
            f"and in its Events on Service {PLUGIN}:",
            events.rstrip() or "(none: this version writes no Events)",
            "",
            _look_around(cluster.name),
        ]
    )


def _look_around(name: str) -> str:
    option = "" if name == "dev" else f" --name {name}"
    tool = f"python3 -m tests.cluster{option} kubectl"
    here = f"{tool} -n {PLUGIN_NAMESPACE}"
    patch = f"{here} patch cnpgplugin {PLUGIN} --type merge -p"
    psql = f"-n {DATABASE_NAMESPACE} exec {DATABASE}-1 -c postgres -- psql"
    other_name = '{"spec":{"env":[{"name":"SAMPLE_NAME","value":"other.example.com"}]}}'
    lines = (
        "Everything keeps running. To inspect it:",
        f"  {here} describe cnpgplugin {PLUGIN}",
        f"  {here} get all,certificates,issuers",
        f"  {tool} explain cnpgplugin.spec",
        f"  {tool} -n {installing.NAMESPACE} logs deployment/{installing.RELEASE}",
        f"  {tool} {psql} -c 'select version()'",
        "To break the plugin (it answers under another name), read the status, and correct it:",
        f"  {patch} '{other_name}'",
        f"  {here} get cnpgplugin {PLUGIN} -o wide --watch",
        f"""  {patch} '{{"spec":{{"env":[]}}}}'""",
        "To remove everything: make demo-down",
    )
    return "\n".join(lines)
