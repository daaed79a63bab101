"""A published plugin does its work: plugin-barman-cloud backs a database up, and restores it.

From the files that users apply (config/plugins/barman-cloud); only the names of images differ.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.paths import MANIFESTS
from tests.support import wait
from tests.support.e2e.backups import NAME, PLUGIN_NAME, SOURCE, Backups
from tests.support.e2e.installation import BARMAN_CLOUD
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.rolls import observe_databases

pytestmark = [pytest.mark.cnpg("untouched"), pytest.mark.long]

RESTORED = "restored"
BEFORE_BACKUP, AFTER_BACKUP = 1000, 234


@pytest.fixture(scope="module")
def backups(module_plugins: Plugins) -> Iterator[Backups]:
    """The plugin as users install it, and an object store in the cluster."""
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
    source.until_archived(SOURCE)
    source.apply_file(BARMAN_CLOUD / "example" / "restored.yaml")
    source.until_healthy(RESTORED)
    assert source.sql(RESTORED, "select count(*) from t") == str(BEFORE_BACKUP + AFTER_BACKUP)


def test_a_changed_plugin_is_ready_again_and_no_database_restarts(source: Backups) -> None:
    before = observe_databases(source.plugins.api, SOURCE)
    args = source.plugins.plugin(NAME)["spec"]["args"]
    source.plugins.patch(NAME, args=[*args, "--zap-stacktrace-level=panic"])
    source.plugins.until_ready(NAME)
    source.until_healthy(SOURCE)
    assert observe_databases(source.plugins.api, SOURCE) == before


def test_the_named_roles_are_all_that_the_plugin_needs(source: Backups) -> None:
    log = source.cluster.kubectl("logs", f"deployment/{NAME}", "--namespace", "cnpg-system")
    assert "forbidden" not in log
