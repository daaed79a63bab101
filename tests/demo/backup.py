"""What `make demo DEMO=backup` shows: a published plugin backs a database up and restores it.

It applies the files of config/plugins/barman-cloud, as a user would, with the images built here.
"""

import time
from pathlib import Path

from tests.cluster import Cluster
from tests.cluster.images import BACKUP, POSTGRES, from_here
from tests.cluster.paths import MANIFESTS
from tests.cluster.progress import heartbeat, say
from tests.demo import installing, story
from tests.demo.diagnosis import explain_database
from tests.demo.watching import watch

FILES = installing.ROOT / "config" / "plugins" / "barman-cloud"
PLUGIN, PLUGIN_NAME = "barman-cloud", "barman-cloud.cloudnative-pg.io"
DATABASE, RESTORED = "backed-up", "restored"
BACKUP_SECONDS = 300.0
ROWS = 100_000


def show(cluster: Cluster) -> str:
    """Show plugin, backup and restore; return what the restored database contains."""
    for image in (*BACKUP, POSTGRES):
        with heartbeat(f"loading {image.tag}"):
            cluster.load_image(image.tag)
    cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "s3.yaml"))
    cluster.kubectl("rollout", "status", "deployment/s3", "--timeout=2m")
    story.follow_plugin(cluster, PLUGIN, _kustomized(cluster, FILES))
    example = FILES / "example"
    story.provide_volume(cluster, DATABASE)
    story.follow_database(cluster, DATABASE, _kustomized(cluster, example), PLUGIN_NAME)
    create = f"create table if not exists t as select generate_series(1, {ROWS}) as n"
    _sql(cluster, DATABASE, create)
    _follow_backup(cluster, example / "backup.yaml")
    restored = from_here((example / "restored.yaml").read_text())
    story.provide_volume(cluster, RESTORED)
    story.follow_database(cluster, RESTORED, restored, PLUGIN_NAME)
    count = "select count(*) from t"
    rows = {name: _sql(cluster, name, count) for name in (DATABASE, RESTORED)}
    return f"\nrows: {rows[DATABASE]} in {DATABASE}, {rows[RESTORED]} in {RESTORED}"


def _kustomized(cluster: Cluster, directory: Path) -> str:
    return from_here(cluster.kubectl("kustomize", str(directory)))


def _sql(cluster: Cluster, database: str, statement: str) -> str:
    pod = ["exec", f"{database}-1", "--namespace", story.DATABASE_NAMESPACE, "-c", "postgres"]
    return cluster.kubectl(*pod, "--", "psql", "-U", "postgres", "-Atc", statement).strip()


def _follow_backup(cluster: Cluster, file: Path) -> None:
    """Request the backup and follow it until it is complete."""
    say(f"applying Backup {story.DATABASE_NAMESPACE}/{DATABASE}")
    where = (story.DATABASE_NAMESPACE, DATABASE)
    phase = ""
    with watch(cluster, "backups.postgresql.cnpg.io", *where) as backup:
        begun = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-f", str(file))
        for version in backup.versions(BACKUP_SECONDS):
            if version.get("status", {}).get("phase", phase) != phase:
                phase = version["status"]["phase"]
                print(f"  +{time.monotonic() - begun:5.1f}s  {phase}", flush=True)
            if phase == "completed":
                return
    raise story.DemoError(
        f"the backup is not complete after {BACKUP_SECONDS:.0f} s.\n"
        + explain_database(cluster, story.DATABASE_NAMESPACE)
    )
