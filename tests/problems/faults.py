"""Reproduces each known problem: one function per row, of the row's name.

What is before `yield` makes the problem; what is after it is what the user has to do besides the
row's command, if anything. An operator that would remedy the problem at once is paused until then.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Final

from tests.problems.world import World
from tests.support import wait
from tests.support.e2e.api import RBAC
from tests.support.e2e.cnpg_install import restore_cnpg
from tests.support.e2e.damage import LAMPS, absent_webhook, refusing_lamps, second_service
from tests.support.e2e.installation import ALLOWED_ROLE
from tests.support.e2e.issuers import ca_issuer, client_pair, secret, server_pair
from tests.support.e2e.plugins import collection
from tests.support.e2e.previous import lease_role
from tests.support.e2e.remains import present, temporary_namespace
from tests.support.e2e.sidecars import MINUTE, PATH, scaled_to_nothing, until_rolled
from tests.support.resources import (
    IMAGE,
    NAMESPACE,
    NEWER_IMAGE,
    NEWER_IMAGE_VERSION,
    Manifest,
    behaviour,
    plugin,
    plugin_name,
)
from tests.support.tls.certificates import authority

WHERE: Final = ("--namespace", NAMESPACE)
CNPG: Final = ("deployment/cnpg-controller-manager", *WHERE)
OPERA: Final = "pgbackrest.cnpg.opera.com"
FENCED_PORT: Final = 50999

Fault = Callable[[World], Iterator[None]]


# CloudNativePG


def misplaced(world: World) -> Iterator[None]:
    with temporary_namespace(world.operator.cluster, world.row.namespace):
        world.apply()
        yield
        world.plugins.delete("CNPGPlugin", world.name, world.row.namespace)
        namespace = world.row.namespace
        world.plugins.until_gone("CNPGPlugin", world.name, within=30, namespace=namespace)
    world.plugins.apply(plugin(world.name))


def unwatched(world: World) -> Iterator[None]:
    world.start()
    world.plugins.kubectl("set", "env", *CNPG, "WATCH_NAMESPACE=default")
    try:
        yield
        world.plugins.until_ready(world.name, within=2 * MINUTE)
    finally:
        world.plugins.kubectl("set", "env", *CNPG, "WATCH_NAMESPACE-")
        until_rolled(world.plugins)


def proxied(world: World) -> Iterator[None]:
    world.start()
    world.use()
    proxy = ("HTTPS_PROXY=http://10.0.0.1:9", "NO_PROXY=10.0.0.0/8")
    world.plugins.kubectl("set", "env", *CNPG, *proxy)
    try:
        yield
        world.plugins.until_ready(world.name, within=2 * MINUTE)
    finally:
        world.plugins.kubectl("set", "env", *CNPG, "HTTPS_PROXY-", "NO_PROXY-")
        until_rolled(world.plugins)


def asleep(world: World) -> Iterator[None]:
    world.start()
    with scaled_to_nothing(world.plugins):
        yield


def unpermitted(world: World) -> Iterator[None]:
    world.start()
    api, path = world.plugins.api, f"{RBAC}/clusterroles/cnpg-manager"
    rules = api.get(path)["rules"]
    api.patch(path, {"rules": [r for r in rules if "secrets" not in r.get("resources", ())]})
    try:
        label = "--selector=app.kubernetes.io/name=cloudnative-pg"
        world.plugins.kubectl("delete", "pods", label, *WHERE)
        yield
    finally:
        restore_cnpg(world.operator.cluster)


def skewed(world: World) -> Iterator[None]:
    environment = {"SAMPLE_NAME": OPERA, "SAMPLE_VERSION": "0.5.0"}
    world.start(pluginName=OPERA, env=behaviour(world.name, **environment))
    yield
    newer = behaviour(world.name, **{**environment, "SAMPLE_VERSION": "0.9.0"})
    world.plugins.patch(world.name, env=newer)
    wait.until(
        "nothing is known of the newer version",
        lambda: "restores" not in world.plugins.condition(world.name, "Registered")["message"],
        within=MINUTE,
        explain=lambda: world.plugins.explain(world.name),
    )


# Order


def early(world: World) -> Iterator[None]:
    world.apply(tls={"issuerRef": {"name": "e2e-late"}})
    yield
    issuer: Manifest = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": "e2e-late", "namespace": NAMESPACE},
        "spec": {"selfSigned": {}},
    }
    world.plugins.apply(issuer)


def rivalled(world: World) -> Iterator[None]:
    elder = f"{world.name}-elder"
    world.plugins.apply(plugin(elder, pluginName=plugin_name(world.name)))
    world.plugins.until_condition(elder, "Accepted", "Accepted", within=30)
    world.apply()
    yield


def doubled(world: World) -> Iterator[None]:
    world.start()
    world.plugins.apply(second_service(world.plugins, world.name, f"{world.name}-other"))
    yield


def forgotten(world: World) -> Iterator[None]:
    other = f"{world.name}-other"
    world.start()
    world.use()
    with world.unseen():
        world.plugins.apply(second_service(world.plugins, world.name, other))
        wait.until(
            "the other Service is registered",
            lambda: [
                event
                for event in world.plugins.api.list(
                    collection("Event"), fieldSelector=f"involvedObject.name={other}"
                )
                if event["reason"] == "PluginRegistered"
            ],
            within=15,
        )
        world.plugins.delete("Service", other)
        world.plugins.until_gone("Service", other, within=15)
        yield


# Certificates


def mistrusted(world: World) -> Iterator[None]:
    world.plugins.apply(*ca_issuer("e2e-root", authority("e2e-root")))
    world.apply(tls={"issuerRef": {"name": "e2e-root"}})
    yield


def misnamed(world: World) -> Iterator[None]:
    root = authority("e2e-own", authority("e2e-own-root"))
    server, client = f"{world.name}-own-server", f"{world.name}-own-client"
    world.plugins.apply(
        secret(server, server_pair(root, "another").secret),
        secret(client, client_pair(root).secret),
    )
    world.apply(tls={"provider": "Secrets", "secrets": {"server": server, "client": client}})
    yield
    world.plugins.apply(secret(server, server_pair(root, world.name).secret))


def renewed(world: World) -> Iterator[None]:
    world.start(tls={"provider": "SelfManaged"})
    world.use()
    before = _certificate(world)
    with world.unseen():
        world.run(f"kubectl cnpg-plugin renew {world.name} -n {NAMESPACE}")
        yield
    wait.until("the certificate is new", lambda: _certificate(world) != before, within=MINUTE)


def _certificate(world: World) -> str:
    found = world.plugins.get("Secret", f"{world.name}-server-tls")
    return str(found["data"]["tls.crt"])


def bereft(world: World) -> Iterator[None]:
    world.start()
    with world.unseen():
        world.plugins.kubectl("delete", "secret", f"{world.name}-trust", *WHERE)
        yield


# The plugin's pods


def pullless(world: World) -> Iterator[None]:
    world.apply(image="localhost/no-such-image:1")
    yield


def crashing(world: World) -> Iterator[None]:
    world.apply(env=behaviour(world.name, SAMPLE_MISBEHAVE="no-such-behaviour"))
    yield
    world.plugins.patch(world.name, env=behaviour(world.name))


def unmounted(world: World) -> Iterator[None]:
    world.apply(**_with_settings(world))
    try:
        yield
        world.plugins.until_ready(world.name, within=3 * MINUTE)
    finally:
        settings = ("configmap", f"{world.name}-settings", *WHERE)
        world.plugins.kubectl("delete", *settings, "--ignore-not-found")


def _with_settings(world: World) -> dict[str, object]:
    return {
        "volumes": [{"name": "data", "configMap": {"name": f"{world.name}-settings"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def rationed(world: World) -> Iterator[None]:
    with refusing_lamps(world.plugins, world.name):
        world.apply(resources=LAMPS)
        yield
        world.plugins.patch(world.name, resources=None)


def homeless(world: World) -> Iterator[None]:
    world.apply(nodeSelector={"example.com/no-such-node": "true"})
    yield


def led(world: World) -> Iterator[None]:
    world.plugins.apply(lease_role(ALLOWED_ROLE))
    world.start(replicas=2, **_leading(world.name, world.name))
    yield


def _leading(name: str, lease: str) -> dict[str, object]:
    """The spec of a plugin that listens only as the holder of a Lease."""
    environment = behaviour(name, SAMPLE_LEASE=f"{lease}.example.com")
    return {"roles": [ALLOWED_ROLE], "env": environment}


def deadlocked(world: World) -> Iterator[None]:
    world.plugins.apply(lease_role(ALLOWED_ROLE))
    world.start(strategy={"type": "RollingUpdate"}, **_leading(world.name, world.name))
    world.plugins.patch(world.name, podAnnotations={"example.com/changed": "true"})
    yield


def copied(world: World) -> Iterator[None]:
    elder = f"{world.name}-elder"
    world.plugins.apply(lease_role(ALLOWED_ROLE), plugin(elder, **_leading(elder, elder)))
    world.plugins.until_ready(elder)
    world.apply(**_leading(world.name, elder))
    yield
    world.plugins.patch(world.name, **_leading(world.name, world.name))


def unapproved(world: World) -> Iterator[None]:
    world.start(upgradePolicy="Manual")
    world.use()
    world.plugins.patch(world.name, image=NEWER_IMAGE)
    yield
    world.until_used(NEWER_IMAGE_VERSION)


def upgraded(world: World) -> Iterator[None]:
    world.start()
    world.use()
    with world.unseen():
        world.plugins.patch(world.name, image=NEWER_IMAGE)
        yield
    world.until_used(NEWER_IMAGE_VERSION)


# The handshake


def impostor(world: World) -> Iterator[None]:
    world.apply(env=[{"name": "SAMPLE_NAME", "value": "other.example.com"}])
    yield
    world.plugins.patch(world.name, env=behaviour(world.name))


def fenced(world: World) -> Iterator[None]:
    """The node itself still reaches the port, so the readiness probe succeeds."""
    drop = ["FORWARD", "-p", "tcp", "--dport", f"{FENCED_PORT}", "-j", "DROP"]
    filtering = world.operator.cluster.in_namespace
    subprocess.run(filtering(["iptables", "--insert", *drop]), check=True)
    try:
        world.apply(port=FENCED_PORT)
        yield
    finally:
        subprocess.run(filtering(["iptables", "--delete", *drop]), check=True)


# What others do to the objects


def unlabelled(world: World) -> Iterator[None]:
    world.start()
    with world.unseen():
        world.plugins.kubectl("label", "service", world.name, *WHERE, "cnpg.io/pluginName-")
        yield


def serviceless(world: World) -> Iterator[None]:
    world.start()
    with world.unseen():
        world.plugins.kubectl("delete", "service", world.name, *WHERE)
        yield


def scaled(world: World) -> Iterator[None]:
    world.start()
    with world.unseen():
        world.plugins.kubectl("scale", f"deployment/{world.name}", *WHERE, "--replicas=0")
        yield


def paused(world: World) -> Iterator[None]:
    world.start()
    with world.unseen():
        world.plugins.kubectl("rollout", "pause", f"deployment/{world.name}", *WHERE)
        yield


def webhooked(world: World) -> Iterator[None]:
    world.start()
    hook = absent_webhook(f"e2e-{world.name}", world.name)
    with present(world.plugins.operator.cluster, hook):
        world.plugins.patch(world.name, podAnnotations={"example.com/changed": "true"})
        yield


# Deletion


def used(world: World) -> Iterator[None]:
    world.start()
    world.use()
    world.plugins.delete("CNPGPlugin", world.name)
    yield


def lingering(world: World) -> Iterator[None]:
    world.start()
    with scaled_to_nothing(world.plugins):
        with world.unseen():
            world.plugins.delete("CNPGPlugin", world.name)
            yield
        world.plugins.until_gone("CNPGPlugin", world.name, within=MINUTE)


# Sidecars


def intruding(world: World) -> Iterator[None]:
    world.apply(mode="Sidecar", env=behaviour(world.name, SAMPLE_LISTEN=":8080"))
    yield
    until_rolled(world.plugins)
    world.plugins.patch(world.name, env=behaviour(world.name))


def volumeless(world: World) -> Iterator[None]:
    world.apply(mode="Sidecar", **_with_settings(world))
    yield
    until_rolled(world.plugins)
    world.plugins.patch(world.name, volumes=None, volumeMounts=None)


def quartered(world: World) -> Iterator[None]:
    with refusing_lamps(world.plugins, world.name):
        world.apply(mode="Sidecar", resources=LAMPS)
        yield
        until_rolled(world.plugins)
        world.plugins.patch(world.name, resources=None)


def stalled(world: World) -> Iterator[None]:
    world.plugins.kubectl("rollout", "pause", *CNPG)
    try:
        world.apply(mode="Sidecar")
        yield
        world.plugins.until_ready(world.name, within=2 * MINUTE)
    finally:
        restore_cnpg(world.operator.cluster)


def replaced(world: World) -> Iterator[None]:
    original = world.plugins.api.get(PATH)
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: original["metadata"].get(key) for key in kept}
    body = json.dumps({**original, "metadata": metadata})
    world.start(mode="Sidecar")
    with world.unseen():
        world.plugins.kubectl("replace", "-f", "-", input=body)
        yield


def moving(world: World) -> Iterator[None]:
    world.start()
    world.use()
    with world.unseen():
        world.plugins.patch(world.name, mode="Sidecar")
        yield
    world.plugins.until_ready(world.name, within=2 * MINUTE)
    world.plugins.patch(world.name, mode="Standalone", image=IMAGE)
