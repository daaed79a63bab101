"""What each alert is about, made on a real cluster and remedied.

A function has the cause there at its `yield`; what is after it remedies it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.alerts.live import AFTER, PATIENCE, World
from tests.alerts.prometheus import Alert
from tests.support.e2e.api import RBAC
from tests.support.e2e.damage import absent_webhook, rival
from tests.support.e2e.installation import OPERATOR_NAMESPACE, RELEASE
from tests.support.e2e.issuers import TLS, client_pair, secret
from tests.support.e2e.remains import present
from tests.support.e2e.rolls import CNPG
from tests.support.e2e.sidecars import PATH, WHERE, sidecar, until_rolled
from tests.support.resources import IMAGE, NAMESPACE, Manifest, behaviour, plugin
from tests.support.tls.certificates import Pair, authority, issue

HOOKED: Final = tuple(f"hooked-{number}" for number in range(4))
OPERATOR: Final = (f"deployment/{RELEASE}", f"--namespace={OPERATOR_NAMESPACE}")
ROLE: Final = f"{RBAC}/clusterroles/{RELEASE}"

Fault = Callable[[World], Iterator[None]]


def absent(world: World) -> Iterator[None]:
    world.plugins.apply(plugin("absent", image="localhost/none:1"))
    yield
    world.plugins.patch("absent", image=IMAGE)


def another(world: World) -> Iterator[None]:
    other = [{"name": "SAMPLE_NAME", "value": "other.example.com"}]
    world.plugins.apply(plugin("another", env=other))
    yield
    world.plugins.patch("another", env=behaviour("another"))


def expired(world: World) -> Iterator[None]:
    yield from _certified(world, "expired", timedelta(minutes=-10))


def expiring(world: World) -> Iterator[None]:
    yield from _certified(world, "expiring", timedelta(hours=1))


def _certified(world: World, name: str, ends: timedelta) -> Iterator[None]:
    """Its user provides the certificates, and replaces one too late."""
    root = authority(f"issuer-of-{name}", authority(f"root-of-{name}"))
    server, client = f"{name}-server", f"{name}-client"
    tls = {"provider": "Secrets", "secrets": {"server": server, "client": client}}
    world.plugins.apply(
        secret(server, _server(root, name, ends).secret, TLS),
        secret(client, client_pair(root).secret, TLS),
        plugin(name, tls=tls),
    )
    yield
    world.plugins.apply(secret(server, _server(root, name, timedelta(days=90)).secret, TLS))


def _server(root: Pair, name: str, ends: timedelta) -> Pair:
    names = [name, f"{name}.{NAMESPACE}.svc"]
    starts = min(ends, timedelta()) - timedelta(hours=10)
    return issue(root, name, dns=names, starts=starts, ends=ends)


def intruding(world: World) -> Iterator[None]:
    world.plugins.apply(sidecar("intruding", env=behaviour("intruding", SAMPLE_LISTEN=":8080")))
    yield
    world.plugins.patch("intruding", env=behaviour("intruding"))


def reverted(world: World) -> Iterator[None]:
    world.plugins.apply(plugin("reverted"))
    world.plugins.until_ready("reverted", within=PATIENCE)
    with rival(world.plugins, "reverted"):
        yield


def hooked(world: World) -> Iterator[None]:
    with present(world.operator.cluster, absent_webhook("e2e-hooked", *HOOKED)):
        world.plugins.apply(*map(plugin, HOOKED))
        yield


def slow(world: World) -> Iterator[None]:
    lasting: Manifest = plugin("slow", minReadySeconds=3_000, progressDeadlineSeconds=3_600)
    world.plugins.apply(lasting)
    yield
    world.plugins.patch("slow", minReadySeconds=0)


def stuck(world: World) -> Iterator[None]:
    deployment = world.operator.api.get(PATH)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    set_image = ("set", "image", f"deployment/{CNPG}", *WHERE)
    world.plugins.kubectl(*set_image, "manager=localhost/no-such-cnpg:1.30.0")
    try:
        world.plugins.apply(plugin("stuck", cnpg={"restartPolicy": "Always"}))
        yield
    finally:
        world.plugins.kubectl(*set_image, f"manager={image}")
        until_rolled(world.plugins)


def blind(world: World) -> Iterator[None]:
    """What watches already is asked for its rights only when it connects: the pod is replaced."""
    api = world.operator.api
    rules = api.get(ROLE)["rules"]
    api.patch(
        ROLE, {"rules": [each for each in rules if "clusters" not in each.get("resources", ())]}
    )
    try:
        world.operator.kill()
        yield
    finally:
        api.patch(ROLE, {"rules": rules})
    world.operator.pod()


def down(world: World) -> Iterator[None]:
    world.plugins.kubectl("scale", *OPERATOR, "--replicas=0")
    try:
        yield
    finally:
        world.plugins.kubectl("scale", *OPERATOR, "--replicas=1")
    world.operator.pod()


@dataclass(frozen=True)
class Cause:
    """One alert, with what makes it fire."""

    alert: str
    fault: Fault
    title: str
    remedy: str
    plugin: str = ""
    """The plugin that the alert names."""
    beside: frozenset[Alert] = frozenset()
    """Further alerts that are right about it."""

    @property
    def expected(self) -> Alert:
        """The alert, with the plugin's name."""
        return self.alert, self.plugin

    def there(self, world: World) -> AbstractContextManager[None]:
        """Make the cause, and remedy it at the end."""
        return contextmanager(self.fault)(world)

    def __str__(self) -> str:
        return self.alert


def _cause(alert: str, fault: Fault, title: str, remedy: str, *beside: str) -> Cause:
    name = fault.__name__
    return Cause(alert, fault, title, remedy, name, frozenset((each, name) for each in beside))


TOGETHER: Final = (
    _cause("NotReady", absent, "an image that does not exist", "the right image"),
    _cause(
        "HandshakeFailing",
        another,
        "a plugin that answers under another name",
        "its own name",
        "NotReady",
    ),
    _cause(
        "CertificateExpired",
        expired,
        "a certificate of the user's that has expired",
        "a new one in its Secret",
        "NotReady",
    ),
    _cause(
        "CertificateExpiring",
        expiring,
        "a certificate of the user's in its last hour",
        "a new one in its Secret",
    ),
    _cause(
        "SidecarQuarantined",
        intruding,
        "a sidecar that takes one of CNPG's ports",
        "another port",
        "NotReady",
    ),
    _cause(
        "WriteLoopStopped",
        reverted,
        "a program that changes a Service back all the time",
        "the end of that program",
        "NotReady",
    ),
    Cause(
        "ReconcileErrors",
        hooked,
        "a webhook for Deployments whose server does not run",
        "the webhook's deletion",
        beside=frozenset(("NotReady", name) for name in HOOKED),
    ),
    _cause(
        "NotProgressing", slow, "pods that count as available only after 50 minutes", "no such wait"
    ),
)
"""These are there at the same time, for alerts take theirs."""

ALONE: Final = (
    _cause(
        "RestartStuck",
        stuck,
        "an image of CNPG that does not exist, while CNPG has to restart",
        "CNPG's own image",
        "NotReady",
    ),
    Cause(
        "StaleWatch",
        blind,
        "an operator that may not read Clusters any more, and starts again",
        "the right",
    ),
    Cause("OperatorDown", down, "an operator that is scaled to zero", "one replica"),
)
"""These concern everything else, and come one after the other."""

CAUSES: Final = (*TOGETHER, *ALONE)


def page() -> str:
    """The table of the documentation."""
    columns = ("alert", "fires after", "cause", "resolved by")
    rows = [(each.alert, AFTER[each.alert], each.title, each.remedy) for each in CAUSES]
    lines = (columns, ("---",) * len(columns), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
