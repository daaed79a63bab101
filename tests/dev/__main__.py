"""`make dev`: the operator runs from this checkout, and starts again after every change of it.

It uses the cluster of KUBECONFIG, or starts the one of `make cluster`. Arguments go to `run`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster import Cluster, ClusterError
from tests.cluster.progress import say
from tests.demo.existing import Existing
from tests.demo.installing import ROOT
from tests.demo.watching import Kubectl

SOURCES: Final = ROOT / "operator"
CRD: Final = ROOT / "crds" / "cnpgplugin.dev_cnpgplugins.yaml"
LOOK_SECONDS: Final = 0.5
END_SECONDS: Final = 10.0
DEFAULTS: Final = {"CNPGP_LOG_FORMAT": "text", "CNPGP_LOG_LEVEL": "debug"}


def state_of(sources: Path) -> Mapping[Path, int]:
    """The times of the last change of all modules."""
    return {path: path.stat().st_mtime_ns for path in sources.rglob("*.py")}


def run_until(
    changed: Callable[[], bool], argv: Sequence[str], environment: Mapping[str, str]
) -> int | None:
    """Run a program until its sources have changed: None; or until it ends: its exit status."""
    with subprocess.Popen(argv, env=environment) as process:
        try:
            while process.poll() is None:
                if changed():
                    return None
                time.sleep(LOOK_SECONDS)
            return process.returncode
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def require_no_other(cluster: Kubectl) -> None:
    """Raise `ClusterError` if an installed operator runs: both would write."""
    selector = "--selector=app.kubernetes.io/part-of=cnpg-plugin-operator"
    shown = r"{range .items[*]}{.metadata.namespace} {.spec.replicas}{'\n'}{end}"
    columns = f"--output=jsonpath={shown}"
    found = cluster.kubectl("get", "deployments", "--all-namespaces", selector, columns)
    for line in found.splitlines():
        namespace, replicas = line.split()
        if replicas != "0":
            raise ClusterError(
                "an operator runs in the cluster, and both would write. Stop it: kubectl scale "
                f"deployment --namespace {namespace} {selector} --replicas=0"
            )


def main(arguments: Sequence[str]) -> int:
    """Run the operator until it is interrupted."""
    argv = [sys.executable, "-m", "cnpg_plugin_operator", "run", *arguments]
    environment = {**os.environ, **DEFAULTS, "PYTHONPATH": str(SOURCES)}
    try:
        if os.environ.get("KUBECONFIG"):
            cluster: Kubectl = Existing()
        else:
            own = Cluster()
            own.up()
            environment["KUBECONFIG"] = str(own.kubeconfig)
            # Names and addresses of Services are valid only there.
            argv, cluster = own.in_namespace(argv), own
        require_no_other(cluster)
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    except ClusterError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    try:
        while True:
            _run_once(argv, environment)
    except KeyboardInterrupt:
        return 0


def _run_once(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    state = state_of(SOURCES)

    def changed() -> bool:
        return state_of(SOURCES) != state

    status = run_until(changed, argv, environment)
    if status is not None:
        say(f"the operator ended with status {status}; it starts again after the next change")
        while not changed():
            time.sleep(LOOK_SECONDS)
    say("the sources have changed: starting again")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
