"""plugin-barman-cloud with an object store and databases, from the files that users apply.

Only the names of images differ from what is in config/plugins/barman-cloud.
"""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import Cluster
from tests.cluster.images import BACKUP, POSTGRES, from_here
from tests.support import wait
from tests.support.e2e.installation import load_once
from tests.support.e2e.operator import output_of
from tests.support.e2e.plugins import Plugins
from tests.support.e2e.remains import marked
from tests.support.resources import Manifest

NAME: Final = "barman-cloud"
PLUGIN_NAME: Final = "barman-cloud.cloudnative-pg.io"
SOURCE: Final = "backed-up"
"""The database of the example."""
HEALTHY: Final = "Cluster in healthy state"


def built_here(text: str) -> list[Manifest]:
    """The objects of a manifest, with the images that were built on this machine."""
    return list(yaml.safe_load_all(from_here(text)))


class Backups:
    """The plugin, the object store, and the databases that use both."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.cluster: Cluster = plugins.operator.cluster
        self._applied: list[str] = []
        for image in (*BACKUP, POSTGRES):
            load_once(self.cluster, image.tag, image.archive.name)

    def apply_directory(self, directory: Path) -> None:
        """As `kubectl apply -k` does."""
        self.apply(built_here(self.cluster.kubectl("kustomize", str(directory))))

    def apply_file(self, file: Path) -> None:
        """As `kubectl apply -f` does."""
        self.apply(built_here(file.read_text()))

    def apply(self, objects: list[Manifest]) -> None:
        """Apply objects, and delete them at the end."""
        listing = {"apiVersion": "v1", "kind": "List", "items": [marked(each) for each in objects]}
        self._applied.append(json.dumps(listing))
        self.cluster.kubectl("apply", "-f", "-", input=self._applied[-1])

    def delete(self) -> None:
        """Delete everything, the newest first."""
        while self._applied:
            flags = ("--ignore-not-found", "--timeout=300s")
            self.cluster.kubectl("delete", *flags, "-f", "-", input=self._applied.pop())

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """The status of a Cluster or Backup."""
        body = json.loads(self.cluster.kubectl("get", kind, name, "-n", "default", "-o", "json"))
        status: dict[str, Any] = body.get("status", {})
        return status

    def until_healthy(self, name: str) -> None:
        """Wait until a database runs, and CloudNativePG has no complaint."""
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

    def until_archived(self, database: str) -> None:
        """Wait until the present end of the WAL is in the object store."""
        last = self.sql(database, "select pg_walfile_name(pg_switch_wal())")
        archived = f"select last_archived_wal >= '{last}' from pg_stat_archiver"
        wait.until(
            f"WAL {last} is archived",
            lambda: self.sql(database, archived) == "t",
            within=60,
            explain=lambda: self.explain(database),
            pause=0.5,
        )

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
