"""A published plugin does its work: plugin-barman-cloud backs a database up, and restores it.

From the files that users apply (config/plugins/barman-cloud); only the names of images differ.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import Cluster
from tests.cluster.images import BACKUP, POSTGRES, from_here
from tests.cluster.paths import MANIFESTS
from tests.support import wait
from tests.support.e2e.installation import BARMAN_CLOUD, load_once
from tests.support.e2e.operator import Operator, output_of
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.remains import marked
from tests.support.resources import Manifest

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

NAME = "barman-cloud"
PLUGIN_NAME = "barman-cloud.cloudnative-pg.io"
SOURCE, RESTORED = "backed-up", "restored"
HEALTHY = "Cluster in healthy state"
BEFORE_BACKUP, AFTER_BACKUP = 1000, 234


def built_here(text: str) -> list[Manifest]:
    """The objects of a manifest, with the images that were built on this machine."""
    return [marked(each) for each in yaml.safe_load_all(from_here(text))]


def listing(objects: list[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


class Backups:
    """The plugin, the object store, and the databases that use both."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.cluster: Cluster = plugins.operator.cluster
        self._applied: list[str] = []

    def apply_directory(self, directory: Path) -> None:
        """As `kubectl apply -k` does."""
        self._apply(built_here(self.cluster.kubectl("kustomize", str(directory))))

    def apply_file(self, file: Path) -> None:
        """As `kubectl apply -f` does."""
        self._apply(built_here(file.read_text()))

    def _apply(self, objects: list[Manifest]) -> None:
        self._applied.append(listing(objects))
        self.cluster.kubectl("apply", "-f", "-", input=self._applied[-1])

    def delete(self) -> None:
        """Delete everything, the newest first."""
        while self._applied:
            flags = ("--ignore-not-found", "--timeout=300s")
            self.cluster.kubectl("delete", *flags, "-f", "-", input=self._applied.pop())

    def status(self, kind: str, name: str) -> dict[str, Any]:
        body = json.loads(self.cluster.kubectl("get", kind, name, "-n", "default", "-o", "json"))
        status: dict[str, Any] = body.get("status", {})
        return status

    def until_healthy(self, name: str) -> None:
        wait.until(
            f"Cluster {name} says {HEALTHY!r}",
            lambda: self.status("cluster", name).get("phase") == HEALTHY,
            within=180,
            explain=lambda: self.explain(name),
            pause=0.5,
        )

    def sql(self, database: str, statement: str) -> str:
        """What psql prints, run in the database's own pod."""
        pod = ("exec", f"{database}-1", "--namespace", "default", "--container", "postgres")
        answer = self.cluster.kubectl(*pod, "--", "psql", "-U", "postgres", "-Atc", statement)
        return answer.strip()

    def pod(self, database: str) -> tuple[str, int]:
        """Which pod the database runs in, and how often its containers have restarted."""
        found = self.plugins.get("Pod", f"{database}-1", "default")
        status = found["status"]
        each = [*status["containerStatuses"], *status["initContainerStatuses"]]
        return found["metadata"]["uid"], sum(one["restartCount"] for one in each)

    def explain(self, database: str) -> str:
        """What a user would look at."""
        sidecar = ("logs", f"{database}-1", "--container=plugin-barman-cloud", "--tail=30")
        commands = [
            ("get", "cluster,backup,pods,jobs,events", "-o", "wide"),
            ("get", "cluster,backup", "-o", "jsonpath={range .items[*]}{.status}{'\\n'}{end}"),
            sidecar,
        ]
        shown = [
            output_of(self.cluster.kubectl_argv(*command, "--namespace", "default"))
            for command in commands
        ]
        own = ("logs", f"deployment/{NAME}", "--namespace", "cnpg-system", "--tail=30")
        shown.append(output_of(self.cluster.kubectl_argv(*own)))
        return "\n".join([*shown, self.plugins.explain(NAME)])


@pytest.fixture(scope="module")
def backups(operator: Operator, module_plugins: Plugins) -> Iterator[Backups]:
    """The plugin as users install it, and an object store in the cluster."""
    for image in (*BACKUP, POSTGRES):
        load_once(operator.cluster, image.tag, image.archive.name)
    made = Backups(module_plugins)
    try:
        made.apply_directory(BARMAN_CLOUD)
        made.apply_file(MANIFESTS / "s3.yaml")
        yield made
    finally:
        made.delete()


@pytest.fixture(scope="module")
def source(backups: Backups) -> Iterator[Backups]:
    """A database that archives its WAL, with some rows."""
    backups.plugins.until_ready(NAME)
    for name in (SOURCE, RESTORED):
        backups.cluster.add_volume(name)
    backups.apply_directory(BARMAN_CLOUD / "example")
    backups.until_healthy(SOURCE)
    backups.sql(SOURCE, f"create table t as select generate_series(1, {BEFORE_BACKUP}) as n")
    yield backups
    backups.delete()
    backups.cluster.kubectl("delete", "pv", SOURCE, RESTORED, "--timeout=300s")


def test_the_published_plugin_becomes_ready_from_one_kustomization(backups: Backups) -> None:
    backups.plugins.until_ready(NAME)
    assert backups.plugins.plugin(NAME)["status"]["plugin"]["name"] == PLUGIN_NAME


def test_cloudnativepg_reports_it_for_a_healthy_database(source: Backups) -> None:
    reported = [one["name"] for one in source.status("cluster", SOURCE)["pluginStatus"]]
    assert reported == [PLUGIN_NAME]


def test_a_backup_completes_and_a_second_database_restored_from_it_has_every_row(
    source: Backups,
) -> None:
    source.apply_file(BARMAN_CLOUD / "example" / "backup.yaml")
    wait.until(
        "the backup is complete",
        lambda: source.status("backup", SOURCE).get("phase") == "completed",
        within=120,
        explain=lambda: source.explain(SOURCE),
        pause=0.5,
    )
    # These rows are in no base backup, only in the WAL.
    source.sql(SOURCE, f"insert into t select generate_series(1, {AFTER_BACKUP})")
    last = source.sql(SOURCE, "select pg_walfile_name(pg_switch_wal())")
    archived = f"select last_archived_wal >= '{last}' from pg_stat_archiver"
    wait.until(
        f"WAL {last} is archived",
        lambda: source.sql(SOURCE, archived) == "t",
        within=60,
        explain=lambda: source.explain(SOURCE),
        pause=0.5,
    )
    source.apply_file(BARMAN_CLOUD / "example" / "restored.yaml")
    source.until_healthy(RESTORED)
    assert source.sql(RESTORED, "select count(*) from t") == str(BEFORE_BACKUP + AFTER_BACKUP)


def test_a_changed_plugin_is_ready_again_and_no_database_restarts(source: Backups) -> None:
    before = source.pod(SOURCE)
    args = source.plugins.plugin(NAME)["spec"]["args"]
    source.plugins.patch(NAME, args=[*args, "--zap-stacktrace-level=panic"])
    source.plugins.until_ready(NAME)
    source.until_healthy(SOURCE)
    assert source.pod(SOURCE) == before


def test_the_named_roles_are_all_that_the_plugin_needs(source: Backups) -> None:
    log = source.cluster.kubectl("logs", f"deployment/{NAME}", "--namespace", "cnpg-system")
    assert "forbidden" not in log
