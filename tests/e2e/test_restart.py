"""How often CloudNativePG is rolled: once for many plugins that request it, else not at all.

CloudNativePG 1.30.0 finds plugins by itself, so only `restartPolicy: Always` requests a roll.
"""

from collections.abc import Iterator

import pytest

from tests.support import wait
from tests.support.e2e.installation import VALUES, image_key, install_chart
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import Plugins, collection, is_ready
from tests.support.e2e.rolls import CNPG, observe
from tests.support.resources import behaviour, plugin
from tests.support.thorough import times

pytestmark = [pytest.mark.cnpg("rolled"), pytest.mark.usefixtures("patient")]

RESTARTED_AT = "cnpgplugin.dev/restarted-at"
TWENTY = 20
MINUTES = 60.0
VERSIONS = 3
"""How many versions a plugin reports before the rolls are counted."""


@pytest.fixture(scope="module")
def patient(operator: Operator) -> Iterator[None]:
    """The operator with the chart's own settle time: on a busy machine twenty pods take time."""
    restart = {**VALUES["restart"], "settle": "10s"}
    install_chart(operator.cluster, image_key(), restart=restart)
    yield
    install_chart(operator.cluster, image_key())


def until_all_ready(plugins: Plugins, names: list[str], *, within: float) -> None:
    def not_ready() -> list[str]:
        found = {p["metadata"]["name"]: p for p in plugins.api.list(collection("CNPGPlugin"))}
        return [name for name in names if not is_ready(found.get(name))]

    wait.until(
        f"{len(names)} plugins are Ready",
        lambda: not not_ready(),
        within=within,
        explain=lambda: f"not Ready: {not_ready()}\n{plugins.explain(not_ready()[0])}",
        pause=0.5,
    )


@pytest.mark.parametrize(
    ("policy", "number", "rolls"),
    [("IfNeeded", times(thorough=TWENTY, usual=5), 0), ("Always", TWENTY, 1)],
)
def test_plugins_that_are_added_at_once_roll_cloudnativepg_at_most_once(
    operator: Operator, plugins: Plugins, policy: str, number: int, rolls: int
) -> None:
    names = [f"{policy.lower()}-{each:02}" for each in range(number)]
    before = observe(operator.api)
    plugins.apply(*(plugin(name, cnpg={"restartPolicy": policy}) for name in names))
    until_all_ready(plugins, names, within=4 * MINUTES)
    operator.writes_until_calm(operator.audit.mark())
    until_all_ready(plugins, names, within=MINUTES)

    after = observe(operator.api)
    assert after.generation - before.generation == rolls
    assert len(after.revisions - before.revisions) == rolls
    assert [name for name in names if not plugins.labelled(name)] == []


def test_a_restart_is_recorded_and_not_repeated(operator: Operator, plugins: Plugins) -> None:
    name = "restarting"
    before = observe(operator.api)
    plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}))
    plugins.until_condition(name, "Registered", "RestartPending", within=60)
    plugins.until_ready(name, within=2 * MINUTES)
    first = observe(operator.api)
    assert first.generation == before.generation + 1
    restart = plugins.plugin(name)["status"]["cnpg"]["lastRestart"]
    assert name in restart["reason"]
    template = plugins.get("Deployment", CNPG)["spec"]["template"]["metadata"]["annotations"]
    assert restart["time"] == template[RESTARTED_AT]

    # Neither another pass, nor another operator process, nor a revert requests another one.
    operator.api.patch(
        f"{collection('CNPGPlugin')}/{name}",
        {"metadata": {"annotations": {"example.com/look": "again"}}},
    )
    operator.kill()
    operator.pod()
    plugins.until_ready(name)
    operator.writes_until_calm(operator.audit.mark())
    assert observe(operator.api).generation == first.generation
    plugins.kubectl("rollout", "undo", f"deployment/{CNPG}", "--namespace", "cnpg-system")
    flags = ("--namespace", "cnpg-system", "--timeout=300s")
    plugins.kubectl("rollout", "status", f"deployment/{CNPG}", *flags)
    plugins.until_ready(name, within=MINUTES)
    operator.writes_until_calm(operator.audit.mark())
    assert observe(operator.api).generation == first.generation + 1, "only the undoing changed it"


def test_restart_policy_never_suffices_where_cloudnativepg_discovers_plugins(
    operator: Operator, plugins: Plugins
) -> None:
    name = "never-restarting"
    before = observe(operator.api)
    plugins.apply(plugin(name, cnpg={"restartPolicy": "Never"}))
    plugins.until_ready(name)
    assert plugins.condition(name, "Registered")["reason"] == "Registered"
    plugins.patch(name, podAnnotations={"example.com/revision": "2"})
    plugins.until_ready(name)
    assert observe(operator.api) == before


def test_a_failing_plugin_never_rolls_cloudnativepg(operator: Operator, plugins: Plugins) -> None:
    name = "failing-and-asking"
    before = observe(operator.api)
    wrong = [{"name": "SAMPLE_NAME", "value": "nobody.example.com"}]
    plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}, env=wrong))
    plugins.until_condition(name, "HandshakeSucceeded", "IdentityMismatch", within=30)
    plugins.never("CloudNativePG was changed", lambda: observe(operator.api) != before, of=name)


def test_a_plugin_that_keeps_changing_its_version_rolls_nothing(
    operator: Operator, plugins: Plugins
) -> None:
    name = "restless"
    env = behaviour(name, SAMPLE_MISBEHAVE="restless")
    handshake = {"interval": "10s"}
    plugins.apply(plugin(name, cnpg={"restartPolicy": "Always"}, env=env, handshake=handshake))
    plugins.until_ready(name, within=2 * MINUTES)
    first = observe(operator.api)

    seen = set()
    for _ in range(VERSIONS):
        seen.add(plugins.plugin(name)["status"]["plugin"]["version"])
        wait.until(
            "another version is reported",
            lambda: plugins.plugin(name)["status"]["plugin"]["version"] not in seen,
            within=30,
            explain=lambda: plugins.explain(name),
        )
    plugins.until_ready(name)
    assert observe(operator.api) == first
