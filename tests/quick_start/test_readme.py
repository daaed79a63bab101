"""The README's commands, as a new user types them, on a cluster without this project's add-ons.
So is `make demo`, which leads through them.

They are read from the page. Only what a user replaces is replaced: the operator's image, and the
addresses of what this machine has built instead of pulling it. Storage and an object store are what
any user's cluster has.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import Cluster, addons, images
from tests.cluster.cluster import DEFAULT_CNPG
from tests.cluster.paths import MANIFESTS
from tests.conftest import CLUSTER
from tests.demo import existing
from tests.support.e2e.installation import IMAGE, ROOT, image_key, provide_image
from tests.support.resources import NAMESPACE

README: Final = (ROOT / "README.md").read_text()
SECTION: Final = README.partition("## Install on an existing cluster")[2].partition("\n## ")[0]
USUAL, BARE = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
"""The commands where CloudNativePG and cert-manager are there, and those before them."""
SELF_MANAGED: Final = "--set defaults.tlsProvider=SelfManaged"
"""What the page adds to Helm's command where there is no cert-manager."""

PLACEHOLDER: Final = "--set image.repository=registry.example.com/cnpg-plugin-operator"
PATIENCE: Final = "--timeout=10m"
DATABASE: Final = "backed-up"


def count(block: str) -> int:
    """The commands of a block; a backslash continues one."""
    return len(block.replace("\\\n", " ").strip().splitlines())


class User:
    """A shell in a clone, on a cluster that has the images which a user's cluster would pull."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self._cluster, self._home = cluster, home
        for image in (images.cnpg(DEFAULT_CNPG), *images.BACKUP, images.POSTGRES):
            cluster.load_image(image.make())
        cluster.load_image(provide_image(image_key()))
        cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "storage-class.yaml"))
        cluster.kubectl("apply", "--server-side", "-f", str(MANIFESTS / "s3.yaml"))
        cluster.add_volume(DATABASE)
        for name in ("charts", "config"):
            shutil.copytree(ROOT / name, home / name)
        for file in (home / "config" / "plugins" / "barman-cloud").rglob("*.yaml"):
            file.write_text(images.from_here(file.read_text()))
        (home / "cnpg.yaml").write_text(addons.cnpg_manifest(DEFAULT_CNPG))
        (home / "bin").mkdir()
        for program, argv in ("kubectl", cluster.kubectl_argv()), ("helm", cluster.helm_argv()):
            shim = home / "bin" / program
            shim.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            shim.chmod(0o755)

    def types(self, block: str) -> None:
        """Run commands as they are on the page; the first that fails ends it."""
        repository, _, tag = IMAGE.rpartition(":")
        mine = f"--set image.repository={repository} --set image.tag={tag}"
        assert PLACEHOLDER in block or "helm" not in block
        block = re.sub(r"https://\S+/cnpg-[\d.]+\.yaml", "cnpg.yaml", block)
        self._runs(["bash", "-e"], self._home, block.replace(PLACEHOLDER, mine))

    def demonstrates(self, *options: str) -> str:
        """Run the demo on the cluster of KUBECONFIG, and agree; return what it prints."""
        return self._runs([sys.executable, "-m", "tests.demo", "--yes", *options], ROOT)

    def _runs(self, argv: list[str], directory: Path, script: str = "") -> str:
        done = subprocess.run(
            argv,
            input=script,
            cwd=directory,
            env={
                "PATH": f"{self._home / 'bin'}:/usr/bin:/bin",
                "HOME": str(self._home),
                "KUBECONFIG": str(self._cluster.kubeconfig),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{done.stderr}{done.stdout}"
        assert done.returncode == 0, f"{argv}\n{script}\n{said}"
        return said

    def must_have(self) -> None:
        """A Ready plugin, and a database that CloudNativePG runs with it."""
        plugin = ("--namespace", NAMESPACE, "cnpgplugin/barman-cloud")
        self._cluster.kubectl("wait", *plugin, "--for=condition=Ready", PATIENCE)
        self._cluster.kubectl("wait", f"cluster/{DATABASE}", "--for=condition=Ready", PATIENCE)
        columns = "--output=jsonpath={.status.pluginStatus[*].name}"
        used = self._cluster.kubectl("get", "cluster", DATABASE, columns)
        assert "barman-cloud.cloudnative-pg.io" in used.split()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of its own, removed afterwards; the test starts it."""
    own = Cluster(f"{CLUSTER}-new")
    own.down()
    yield own
    own.down()


def test_five_commands_suffice_on_a_bare_cluster(cluster: Cluster, tmp_path: Path) -> None:
    assert count(BARE) + count(USUAL) <= 5
    assert SELF_MANAGED in SECTION
    cluster.up(addons=False)
    user = User(cluster, tmp_path)
    user.types(BARE)
    user.types(USUAL.replace(PLACEHOLDER, f"{PLACEHOLDER} {SELF_MANAGED}"))
    user.must_have()


def test_three_suffice_with_cloudnativepg_and_cert_manager(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert count(USUAL) <= 3
    cluster.up()
    user = User(cluster, tmp_path)
    user.types(USUAL)
    user.must_have()


def test_the_demo_leads_through_it_and_takes_it_back(cluster: Cluster, tmp_path: Path) -> None:
    cluster.up(addons=False)
    user = User(cluster, tmp_path)
    cluster.add_volume(existing.DATABASE)
    mirror = f"--mirror={images.from_here(existing.PUBLISHED)}"
    said = user.demonstrates(f"--image={IMAGE}", mirror, f"--cnpg={tmp_path / 'cnpg.yaml'}")
    words = "This installs:", "waiting until the operator leads", "CloudNativePG reports the plugin"
    assert [each for each in words if each not in said] == []
    user.demonstrates("--down")
    left = cluster.kubectl("get", "cnpgplugins,clusters.postgresql.cnpg.io", "-A", "-o", "name")
    assert not left
    assert not cluster.helm("list", "--all-namespaces", "--short")
