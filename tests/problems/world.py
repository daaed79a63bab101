"""What a test of a known problem works with: the plugin, and the commands that a user runs."""

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any, Final

from tests.problems.results import Result
from tests.problems.rows import Row
from tests.support import wait
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, is_ready
from tests.support.resources import IMAGE_VERSION, plugin, plugin_name, postgres
from tests.support.screen import lines_of

NAMED_WITHIN: Final = 240.0
OVER_WITHIN: Final = 180.0

Done = CompletedProcess[str]


@dataclass
class World:
    """One row of the table in the cluster."""

    operator: Operator
    plugins: Plugins
    row: Row

    @property
    def name(self) -> str:
        """Of the resource."""
        return self.row.name

    def apply(self, **spec: Any) -> None:
        """Create the row's plugin."""
        self.plugins.apply(plugin(self.name, self.row.namespace, **spec))

    def start(self, **spec: Any) -> None:
        """Create it, and wait until it is Ready."""
        self.apply(**spec)
        self.plugins.until_ready(self.name, within=OVER_WITHIN)

    def use(self) -> None:
        """Let a Cluster use it, until CloudNativePG has called the plugin."""
        user = postgres(self.user, plugin_name(self.name), imageName="localhost/none:17")
        self.plugins.apply(user)
        self.until_used(IMAGE_VERSION)

    def until_used(self, version: str) -> None:
        """Wait until the Cluster shows a version of the plugin."""
        self.plugins.until_reported(self.name, self.user, version, within=60)

    @property
    def user(self) -> str:
        """Name of that Cluster."""
        return f"e2e-{self.name}"

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Pause the operator meanwhile, so that the problem lasts long enough to look at it.

        Another one continues: the kubelet may have decided to restart one that does not answer.
        """
        try:
            with self.operator.paused():
                yield
        finally:
            self.operator.kill()
            self.operator.pod()

    def until_named(self) -> str:
        """Wait until a condition names the problem, if one does; return its message."""
        if not self.row.condition:
            return ""
        found = wait.until(
            f"{self.row.condition} says {self.row.reason}: {self.row.says}",
            self._named,
            within=NAMED_WITHIN,
            explain=lambda: self.plugins.explain(self.name, self.row.namespace),
        )
        return str(found["message"])

    def _named(self) -> dict[str, Any] | None:
        found = self.plugins.condition(self.name, self.row.condition, self.row.namespace)
        named = found.get("reason") == self.row.reason
        return found if named and re.search(self.row.says, found["message"]) else None

    def look(self, result: Result) -> None:
        """Ask as a user would; record how many lines of a screen each answer takes."""
        flag = f"--namespace={self.row.namespace}"
        asked = {
            "status": lambda: self.operator.from_outside("status", self.name, flag),
            "diagnose": lambda: self.operator.from_outside("diagnose", self.name, flag),
            "diagnose in the pod": lambda: self.operator.diagnose(self.name, flag),
        }
        ready = is_ready(self.plugins.plugin(self.name, self.row.namespace))
        # At the same time: the operator may be paused, and a pod that is paused is restarted soon.
        with ThreadPoolExecutor(max_workers=len(asked)) as beside:
            answers = {what: beside.submit(ask) for what, ask in asked.items()}
        done = {what: answer.result() for what, answer in answers.items()}
        told = "\n".join(f"{what}: {each.stdout}{each.stderr}" for what, each in done.items())
        print(told)
        assert done["status"].returncode == (0 if ready else 1), told
        assert ready or self.row.reason in done["status"].stdout, told
        for what in ("diagnose", "diagnose in the pod"):
            assert done[what].returncode == (0 if self.row.succeeds else 1), told
            lines = [line for line in unfold(done[what].stdout) if re.search(self.row.says, line)]
            assert lines, told
            result.message = result.message or lines[0]
        result.lines = {what: lines_of(each.stdout + each.stderr) for what, each in done.items()}

    def run(self, command: str) -> None:
        """Run what the documentation says, word for word."""
        program, *words = shlex.split(command)
        assert program == "kubectl", command
        if words[0] == "cnpg-plugin":
            done = self.operator.from_outside(*words[1:])
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            self.plugins.kubectl(*words)

    def until_over(self) -> int:
        """Wait until the plugin is Ready, or gone if it was deleted.

        Returns how many lines of a screen the status of a plugin without a problem takes.
        """
        found = self.plugins.find("CNPGPlugin", self.name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            self.plugins.until_gone("CNPGPlugin", self.name, within=OVER_WITHIN)
            return 0
        self.plugins.until_ready(self.name, within=OVER_WITHIN)
        done = self.operator.from_outside("status", self.name, "--namespace=cnpg-system")
        assert done.returncode == 0, done.stdout + done.stderr
        return lines_of(done.stdout + done.stderr)


def unfold(text: str) -> list[str]:
    """Undo the folding of `diagnose`, which indents further lines by six columns."""
    return [line.strip() for line in text.replace("\n      ", " ").splitlines()]
