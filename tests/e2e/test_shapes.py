"""Plugins of every shape that published ones have, from the resource to its removal.

One row per shape, one column per step of a plugin's life; the table is printed. All shapes of a run
live at the same time. What a published plugin does then is in `test_barman_cloud`.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pytest
import yaml

from tests.cluster.images import BARMAN_CLOUD as BARMAN_CLOUD_IMAGE
from tests.cluster.images import from_here
from tests.support import wait
from tests.support.e2e.installation import ALLOWED_ROLE, BARMAN_CLOUD, load_once
from tests.support.e2e.operator import Operator
from tests.support.e2e.plugins import LABEL, Plugins
from tests.support.e2e.previous import lease_role
from tests.support.e2e.remains import marked
from tests.support.e2e.stranger import can_connect, start_stranger
from tests.support.resources import (
    IMAGE_VERSION,
    NAMESPACE,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    Manifest,
    behaviour,
    plugin,
    plugin_name,
    postgres,
    service,
)
from tests.support.thorough import rows

pytestmark = pytest.mark.cnpg("untouched")

CHILDREN: Final = (
    "deployments,pods,services,secrets,serviceaccounts,rolebindings,certificates.cert-manager.io"
)
WITHIN: Final = 90
"""Seconds for each step; many plugins start at once."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A plugin, and what surrounds it."""

    name: str
    title: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Manifest, ...] = ()
    """What else is applied, after the resource."""
    refused: str = ""
    """The resource beside it that must be refused."""

    def __str__(self) -> str:
        return self.title

    @property
    def resource(self) -> Manifest:
        """The resource."""
        return plugin(self.name, **self.spec)

    @property
    def plugin_name(self) -> str:
        """The name by which Clusters use it."""
        return plugin_name(self.name)

    versions = (IMAGE_VERSION, NEWER_IMAGE_VERSION)
    """What it reports before and after the upgrade."""
    upgrade: Mapping[str, Any] = field(default_factory=lambda: {"image": NEWER_IMAGE})
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the plugin, in a Cluster."""

    @property
    def cluster(self) -> Manifest:
        """A Cluster that uses it; its pods cannot start, which does not matter."""
        user = postgres(self.user, imageName="localhost/none:17")
        named = {"name": self.plugin_name, "parameters": dict(self.parameters)}
        user["spec"]["plugins"] = [named]
        return user

    @property
    def user(self) -> str:
        """Name of that Cluster."""
        return f"user-of-{self.name}"

    def check(self, plugins: Plugins) -> None:
        """Check what is special about it, once it is registered."""


class Guarded(Shape):
    """The network enforces its NetworkPolicy."""

    def check(self, plugins: Plugins) -> None:
        """CloudNativePG and the operator have reached it; a pod of another namespace does not."""
        reaches = partial(can_connect, plugins, self.name)
        wait.until("the further port is open", lambda: reaches(8080), within=WITHIN, pause=1)
        wait.until("the plugin's is closed", lambda: not reaches(9090), within=WITHIN, pause=1)
        plugins.patch(self.name, networkPolicy=None)
        wait.until("it is open without the policy", lambda: reaches(9090), within=WITHIN, pause=1)
        plugins.patch(self.name, networkPolicy={"enabled": True})
        wait.until("it is closed again", lambda: not reaches(9090), within=WITHIN, pause=1)


class Published(Shape):
    """plugin-barman-cloud, from the files that users apply."""

    plugin_name = "barman-cloud.cloudnative-pg.io"
    versions = ("0.14.0", "0.14.0")

    @property
    def resource(self) -> Manifest:
        """The resource, with the image that was built on this machine."""
        text = from_here((BARMAN_CLOUD / "plugin.yaml").read_text())
        body: Manifest = yaml.safe_load(text)
        body["metadata"]["namespace"] = NAMESPACE
        body["spec"] |= self.spec
        return body


FLAGS = (
    "--server-cert=$(CNPG_PLUGIN_SERVER_CERT)",
    "--server-key=$(CNPG_PLUGIN_SERVER_KEY)",
    "--client-cert=$(CNPG_PLUGIN_CLIENT_CERT)",
    "--server-address=$(CNPG_PLUGIN_ADDRESS)",
)
ONE_DIRECTORY = Shape(
    "shape-directory",
    "all TLS files in one directory",
    {
        "tls": {
            "files": {
                "server": {"directory": "/tls"},
                "client": {"directory": "/tls", "trust": "client-ca.crt"},
            }
        }
    },
)
APPLICATION = service("shape-service-application")
APPLICATION["spec"] = {
    "selector": {"cnpgplugin.dev/name": "shape-service"},
    "ports": [{"port": 80, "targetPort": 8080}],
}
RIVAL = plugin(
    "shape-rivalled-rival",
    pluginName=plugin_name("shape-rivalled"),
    service={"name": "shape-rivalled"},
)
GUARDED = Guarded(
    "shape-guarded",
    "a NetworkPolicy that is enforced",
    {
        "networkPolicy": {"enabled": True},
        "env": behaviour("shape-guarded", SAMPLE_LISTEN=":8080"),
        "extraPorts": [{"name": "http", "port": 8080, "servicePort": 8080}],
    },
)
SHAPES = (
    Shape(
        "shape-flags", "flags of its own", {"serverArguments": "None", "args": ["plugin", *FLAGS]}
    ),
    ONE_DIRECTORY,
    Shape(
        "shape-root",
        "trusts clients by ca.crt",
        {"tls": {"clientTrust": "Root", "files": {"client": {"trust": "ca.crt"}}}},
    ),
    Shape("shape-port", "port 50051", {"port": 50051}),
    Shape(
        "shape-led",
        "two replicas with a leader",
        {
            "replicas": 2,
            "roles": [ALLOWED_ROLE],
            "env": behaviour("shape-led", SAMPLE_LEASE="shape-led.example.com"),
        },
        (lease_role(ALLOWED_ROLE),),
    ),
    Shape(
        "shape-service",
        "further ports and an application Service",
        {
            "env": behaviour("shape-service", SAMPLE_LISTEN=":8080,:9091"),
            "extraPorts": [
                {"name": "http", "port": 8080},
                {"name": "metrics", "port": 9091, "servicePort": 9091},
            ],
        },
        (APPLICATION,),
    ),
    Shape(
        "shape-rivalled", "another resource wants its names", {}, (RIVAL,), "shape-rivalled-rival"
    ),
    GUARDED,
    Published(
        "barman-cloud",
        "plugin-barman-cloud 0.14.0 with two replicas",
        {"replicas": 2},
        upgrade={"podAnnotations": {"example.com/changed": "true"}},
        parameters={"barmanObjectName": "none"},
    ),
)
STEPS: Final = ("resource", "Ready", "registered", "upgraded", "removed")


@dataclass
class Lives:
    """What each shape came to, step by step; a shape that failed goes no further."""

    plugins: Plugins
    shapes: list[Shape]
    cells: dict[tuple[Shape, str], str] = field(default_factory=dict)

    def step(self, name: str, act: Callable[[Shape], None], see: Callable[[Shape], None]) -> None:
        """Act on all shapes, then look at each."""
        began = time.monotonic()
        for shape in self.shapes:
            act(shape)
        for shape in list(self.shapes):
            try:
                see(shape)
                self.cells[shape, name] = f"✓ {time.monotonic() - began:.0f} s"
            except AssertionError as error:
                self.cells[shape, name] = f"failed: {error}"
                self.shapes.remove(shape)

    def table(self) -> str:
        """The table, as text."""
        titles = {shape: str(shape) for shape, _ in self.cells}
        width = max(map(len, titles.values()))
        lines = [f"{'':{width}}  {'  '.join(f'{step:12}' for step in STEPS)}"]
        for shape, title in titles.items():
            cells = (self.cells.get((shape, step), "not run").split("\n")[0] for step in STEPS)
            lines.append(f"{title:{width}}  {'  '.join(f'{cell:12.12}' for cell in cells)}")
        return "\n".join(lines)

    def apply(self, shape: Shape) -> None:
        self.plugins.apply(shape.resource)
        if shape.beside:
            self.plugins.apply(*shape.beside)

    def accepted(self, shape: Shape) -> None:
        self.plugins.until_condition(shape.name, "Accepted", "Accepted", within=WITHIN)
        if shape.refused:
            found = self.plugins.until_condition(
                shape.refused, "Accepted", "NameConflict", within=WITHIN
            )
            assert f"CNPGPlugin {shape.name}" in found["message"]

    def ready(self, shape: Shape) -> None:
        self.plugins.until_ready(shape.name, within=WITHIN)

    def use(self, shape: Shape) -> None:
        self.plugins.apply(shape.cluster)

    def registered(self, shape: Shape) -> None:
        self._until_reported(shape, shape.versions[0])
        shape.check(self.plugins)

    def upgrade(self, shape: Shape) -> None:
        self.plugins.patch(shape.name, **shape.upgrade)

    def upgraded(self, shape: Shape) -> None:
        self.plugins.until_ready(shape.name, within=WITHIN)
        self._until_reported(shape, shape.versions[1])

    def _until_reported(self, shape: Shape, version: str) -> None:
        def shown() -> bool:
            status = self.plugins.get("Cluster", shape.user, "default").get("status", {})
            found = {p["name"]: p.get("version") for p in status.get("pluginStatus") or []}
            return found.get(shape.plugin_name) == version

        wait.until(
            f"Cluster {shape.user} shows version {version}",
            shown,
            within=WITHIN,
            explain=lambda: self.plugins.explain(shape.name),
        )

    def remove(self, shape: Shape) -> None:
        self.plugins.delete("Cluster", shape.user, "default")
        if shape.refused:
            self.plugins.delete("CNPGPlugin", shape.refused)
        self.plugins.delete("CNPGPlugin", shape.name)

    def removed(self, shape: Shape) -> None:
        self.plugins.until_gone("CNPGPlugin", shape.name, within=WITHIN)
        ours = f"--selector=cnpgplugin.dev/name={shape.name}"
        where = ("get", CHILDREN, "--namespace", NAMESPACE, ours, "--output=name")
        wait.until(
            f"nothing of {shape.name} is left",
            lambda: not self.plugins.kubectl(*where),
            within=WITHIN,
            explain=lambda: self.plugins.kubectl(*where),
        )
        found = self.plugins.kubectl("get", "services", "-n", NAMESPACE, f"-l{LABEL}", "-oname")
        assert shape.name not in found


@pytest.fixture(scope="module")
def barman_cloud(operator: Operator) -> Iterator[None]:
    """What the published plugin needs beside its resource."""
    load_once(operator.cluster, BARMAN_CLOUD_IMAGE.tag, BARMAN_CLOUD_IMAGE.archive.name)
    directory = operator.cluster.kubectl("kustomize", str(BARMAN_CLOUD))
    needed = [marked(o) for o in yaml.safe_load_all(directory) if o["kind"] != "CNPGPlugin"]
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": needed})
    operator.cluster.kubectl("apply", "-f", "-", input=listing)
    yield
    flags = ("--ignore-not-found", "--timeout=120s")
    operator.cluster.kubectl("delete", *flags, "-f", "-", input=listing)


@pytest.fixture(scope="module")
def enforcing(operator: Operator, module_plugins: Plugins) -> Iterator[None]:
    """A network that enforces NetworkPolicies, and a pod that none of them admits."""
    with operator.cluster.enforcing_network_policies():
        start_stranger(module_plugins)
        yield


ROWS = rows(SHAPES, (ONE_DIRECTORY,))


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest, module_plugins: Plugins) -> Lives:
    """All shapes, all steps."""
    if any(isinstance(shape, Published) for shape in ROWS):
        request.getfixturevalue("barman_cloud")
    if GUARDED in ROWS:
        request.getfixturevalue("enforcing")
    found = Lives(module_plugins, list(ROWS))
    found.step("resource", found.apply, found.accepted)
    found.step("Ready", lambda _: None, found.ready)
    found.step("registered", found.use, found.registered)
    found.step("upgraded", found.upgrade, found.upgraded)
    found.step("removed", found.remove, found.removed)
    print(found.table())
    return found


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_a_plugin_lives_from_its_resource_to_its_removal(lives: Lives, shape: Shape) -> None:
    reached = {step: lives.cells.get((shape, step), "not run") for step in STEPS}
    assert all(cell.startswith("✓") for cell in reached.values()), "\n".join(reached.values())
