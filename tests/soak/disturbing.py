"""Carries out the disturbances of a soak one after the other, and awaits their ends."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final

from tests.bench.environment import FAILURES
from tests.bench.fleet import Fleet
from tests.bench.plugins import SMALLEST, Plugins, manifest
from tests.cluster import Cluster
from tests.cluster import api as cluster_api
from tests.cluster.progress import heartbeat, say
from tests.soak.judgement import Disturbed
from tests.soak.plan import PLUGINS, Act, Disturbance, Soaked, disturbances
from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.api import Api
from tests.support.e2e.issuers import TLS, client_pair, secret, server_pair
from tests.support.e2e.plugins import collection, is_ready
from tests.support.e2e.renewal import Renewals
from tests.support.resources import NAMESPACE
from tests.support.tls.certificates import authority

PATIENCE: Final = 240.0
"""Seconds until plugins are Ready again, on a busy machine."""
REPLACED: Final = 5
"""Clusters at a time."""
CHAINS: Final = (("CertManager", "cnpg-plugins"), ("SelfManaged", "cnpg-plugins-selfmanaged"))
"""The providers with an intermediate CA, and its Secret."""
API_SERVER: Final = "kube-apiserver"


def start(cluster: Cluster) -> None:
    """Create all plugins, with the Secrets that their users provide, and await them."""
    issuer = authority("issuer-of-soak", authority("root-of-soak"))
    items = [build(each) for each in PLUGINS]
    for each in PLUGINS:
        pairs = {"server": server_pair(issuer, each.name), "client": client_pair(issuer)}
        items += [secret(name, pairs[role].secret, TLS) for role, name in _secrets(each).items()]
    listing = {"apiVersion": "v1", "kind": "List", "items": items}
    with heartbeat(f"starting {len(PLUGINS)} plugins"):
        cluster.kubectl("apply", "--namespace", NAMESPACE, "-f", "-", input=json.dumps(listing))
        Plugins(cluster).await_ready(len(PLUGINS))


def clear(cluster: Cluster, fleet: Fleet) -> None:
    """Remove all of it."""
    fleet.remove()
    Plugins(cluster).remove_all()
    provided = [name for each in PLUGINS for name in _secrets(each).values()]
    cluster.kubectl("delete", "secrets", "--namespace", NAMESPACE, "--ignore-not-found", *provided)


def build(plugin: Soaked) -> dict[str, object]:
    """Build the resource of a plugin."""
    spec: dict[str, Any] = {"resources": SMALLEST, **plugin.kind.spec}
    if secrets := _secrets(plugin):
        spec["tls"] = {"provider": "Secrets", "secrets": secrets}
    return manifest(plugin.name, **spec)


def _secrets(plugin: Soaked) -> dict[str, str]:
    """Name the Secrets that its user provides."""
    provides = plugin.kind.provider == "Secrets"
    return {role: f"{plugin.name}-{role}" for role in ("server", "client")} if provides else {}


@dataclass
class Disturber:
    """Disturbs until it is stopped."""

    cluster: Cluster
    fleet: Fleet
    reported: Sequence[dict[str, Any]]
    seed: int
    stopped: threading.Event = field(default_factory=threading.Event)
    done: list[Disturbed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = Api(self.cluster)
        self._renewals = Renewals(self._api, Peers(self.cluster, self._api))
        self._acts: dict[Act, Callable[[Disturbance], None]] = {
            Act.KILL: self._kill,
            Act.ROLL: self._roll,
            Act.RECREATE: self._recreate,
            Act.RENEW: self._renew,
            Act.RENEW_CHAIN: self._renew_chain,
            Act.RESTART_CNPG: self._restart_cnpg,
            Act.BLIP: self._blip,
            Act.REPLACE: self._replace,
        }

    def run(self) -> None:
        """Disturb again and again."""
        for each in disturbances(self.seed):
            if self.stopped.wait(each.after):
                break
            began, fault = time.monotonic(), ""
            try:
                self._acts[each.act](each)
                self._until_ready()
            except (*FAILURES, HTTPException) as error:
                name = each.plugin.name if each.plugin else ""
                fault = f"{each.number} {each.act} {name}: {error}"
                say(fault)
            self.done.append(Disturbed(each, began, time.monotonic(), fault))

    def close(self) -> None:
        """Return the connection."""
        self._api.close()

    def _until_ready(self) -> None:
        wait.until(
            "all plugins are Ready",
            lambda: not self._awaited(),
            within=PATIENCE,
            explain=lambda: ", ".join(self._awaited()),
            pause=1,
        )

    def _awaited(self) -> list[str]:
        """What is not as it should be; an API server that starts again refuses lists at first."""
        try:
            return self.missing()
        except (*FAILURES, HTTPException) as error:
            return [str(error)]

    def missing(self) -> list[str]:
        """The plugins that are not Ready."""
        found = {each["metadata"]["name"]: each for each in self._api.list(_RESOURCES)}
        return [each.name for each in PLUGINS if not is_ready(found.get(each.name))]

    def _kill(self, what: Disturbance) -> None:
        self._end_pods(f"cnpgplugin.dev/name={_name(what)}")

    def _restart_cnpg(self, _: Disturbance) -> None:
        self._end_pods("app.kubernetes.io/name=cloudnative-pg")

    def _end_pods(self, selector: str) -> None:
        found = self._api.list(collection("Pod"), labelSelector=selector)
        for pod in found:
            self._api.delete(f"{collection('Pod')}/{pod['metadata']['name']}")
        # A kubelet that has lost its watch, as when the API server was away, ends them much later.
        wait.until("the pods are gone", lambda: all(map(self._is_gone, found)), within=PATIENCE)

    def _is_gone(self, pod: Mapping[str, Any]) -> bool:
        metadata = pod["metadata"]
        try:
            live = self._api.find(f"{collection('Pod')}/{metadata['name']}")
        except (*FAILURES, HTTPException):
            return False
        return live is None or live["metadata"]["uid"] != metadata["uid"]

    def _roll(self, what: Disturbance) -> None:
        path = f"{_RESOURCES}/{_name(what)}"
        environment = self._api.get(path)["spec"]["env"][:1]
        changed = [*environment, {"name": "UNUSED", "value": str(what.number)}]
        self._api.patch(path, {"spec": {"env": changed}})

    def _recreate(self, what: Disturbance) -> None:
        path = f"{_RESOURCES}/{_name(what)}"
        self._api.delete(path)
        wait.until("it is gone", lambda: self._api.find(path) is None, within=PATIENCE)
        assert what.plugin is not None
        self._api.create(_RESOURCES, build(what.plugin))

    def _renew(self, what: Disturbance) -> None:
        assert what.plugin is not None
        self._renewals.ask_for_leaves(what.plugin.kind.provider, what.plugin.name)

    def _renew_chain(self, what: Disturbance) -> None:
        provider, intermediate = CHAINS[what.number % len(CHAINS)]
        self._renewals.ask_for_authority(provider, intermediate)

    def _blip(self, what: Disturbance) -> None:
        self.cluster.stop_component(API_SERVER, kill=True)
        self.stopped.wait(what.seconds)
        self.cluster.start_component(API_SERVER)
        wait.until(
            "the API server serves",
            lambda: cluster_api.is_ready(self.cluster.layout),
            within=PATIENCE,
        )

    def _replace(self, what: Disturbance) -> None:
        first = what.number * REPLACED
        for index in range(first, first + REPLACED):
            self.fleet.replace(self._api, index % self.fleet.size, self.reported)


def stream(fleet: Fleet, rate: float, stopped: threading.Event) -> None:
    """Update the fleet's statuses, and go on after a time without the API server."""
    api = Api(fleet.cluster)
    while not stopped.is_set():
        try:
            fleet.stream(rate, _STREAM_SECONDS, stop=stopped)
            fleet.heal(api)
        except (*FAILURES, HTTPException):
            stopped.wait(1)
    api.close()


_STREAM_SECONDS: Final = 10.0
_RESOURCES: Final = collection("CNPGPlugin")


def _name(what: Disturbance) -> str:
    assert what.plugin is not None
    return what.plugin.name
