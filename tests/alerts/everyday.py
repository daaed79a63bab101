"""What happens every day to an operator and its plugins. No alert may fire for any of it."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.alerts.live import PATIENCE, World
from tests.cluster import images
from tests.cluster.addons import apply_cnpg
from tests.support import wait
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.installation import image_key, install_chart, load_once
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import WHERE, sidecar, until_rolled
from tests.support.resources import NAMESPACE, NEWER_IMAGE, behaviour, plugin, plugin_name, postgres

NAME: Final = "watched"
NEWER_CNPG: Final = "1.30.1"


def install_the_operator(world: World) -> None:
    install_chart(world.operator.cluster, image_key())
    world.operator.pod()


def create(world: World) -> None:
    world.plugins.apply(plugin(NAME))
    world.until_ready(NAME)


def upgrade(world: World) -> None:
    world.plugins.patch(NAME, image=NEWER_IMAGE)
    world.until_ready(NAME)


def roll_out(world: World) -> None:
    world.plugins.patch(NAME, env=behaviour(NAME, SAMPLE_ROLLED="1"), replicas=2)
    world.until_ready(NAME)


def suspend(world: World) -> None:
    """And change it meanwhile to something that would not work."""
    world.plugins.patch(NAME, suspend=True, image="localhost/none:1")
    world.plugins.until_condition(NAME, "Suspended", "Suspended", within=PATIENCE)
    world.until_nothing_is_about_to_fire()
    world.plugins.patch(NAME, suspend=False, image=NEWER_IMAGE)
    world.until_ready(NAME)


def renew(world: World) -> None:
    def ends() -> str:
        return str(world.plugins.plugin(NAME)["status"]["certificates"]["server"]["notAfter"])

    before = ends()
    done = world.operator.from_outside("renew", NAME, f"--namespace={NAMESPACE}")
    assert done.returncode == 0, done.stderr
    wait.until(
        "the certificate is renewed",
        lambda: ends() > before,
        within=PATIENCE,
        explain=lambda: world.plugins.explain(NAME),
    )
    world.until_ready(NAME)


def host_a_sidecar(world: World) -> None:
    """CloudNativePG rolls when it comes, and when it goes."""
    name = f"{NAME}-sidecar"
    world.plugins.apply(sidecar(name))
    world.until_ready(name)
    world.plugins.remove(name, within=PATIENCE)
    until_rolled(world.plugins)
    world.until_ready(NAME)


def restart_cnpg(world: World) -> None:
    world.plugins.kubectl("rollout", "restart", f"deployment/{CNPG}", *WHERE)
    until_rolled(world.plugins)
    world.until_ready(NAME)


def upgrade_cnpg(world: World) -> None:
    """And back, as after an upgrade that was regretted."""
    cluster = world.operator.cluster
    archive = images.cnpg(NEWER_CNPG).make()
    load_once(cluster, archive, archive.name)
    apply_cnpg(cluster.kubectl, NEWER_CNPG)
    until_rolled(world.plugins)
    wait.until(
        "the plugin is used by the newer version",
        lambda: world.plugins.plugin(NAME)["status"]["cnpg"]["version"] == NEWER_CNPG,
        within=PATIENCE,
        explain=lambda: world.plugins.explain(NAME),
    )
    world.until_ready(NAME)
    restore_cnpg(cluster)
    world.until_ready(NAME)


def upgrade_the_operator(world: World) -> None:
    upgraded = {"example.com/upgraded": "yes"}
    install_chart(world.operator.cluster, image_key(), podLabels=upgraded)
    world.operator.pod()
    world.until_ready(NAME)


def delete(world: World) -> None:
    """While a Cluster uses it, which it has to wait for."""
    user = postgres(f"e2e-{NAME}", plugin_name(NAME), imageName="localhost/none:17")
    world.plugins.apply(user)
    world.plugins.delete("CNPGPlugin", NAME)
    world.plugins.until_condition(NAME, "Ready", "InUse", within=PATIENCE)
    world.until_nothing_is_about_to_fire()
    world.plugins.delete("Cluster", user["metadata"]["name"], "default")
    world.plugins.until_gone("CNPGPlugin", NAME, within=PATIENCE)


EVERYDAY: Final[Mapping[str, Callable[[World], None]]] = {
    "the operator's installation": install_the_operator,
    "a new plugin": create,
    "a plugin's upgrade": upgrade,
    "a plugin's rollout, to more replicas": roll_out,
    "`suspend`, and a broken change meanwhile": suspend,
    "a renewal of a plugin's certificates": renew,
    "a sidecar that comes and goes": host_a_sidecar,
    "a restart of CNPG": restart_cnpg,
    "an upgrade of CNPG, and the way back": upgrade_cnpg,
    "an upgrade of the operator": upgrade_the_operator,
    "a deletion that waits for a Cluster": delete,
}
"""In this order, by what the documentation calls it."""


def page() -> str:
    """The list of the documentation."""
    return "".join(f"- {title}\n" for title in EVERYDAY)
