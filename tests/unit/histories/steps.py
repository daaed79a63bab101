"""What may happen in a history: what users do, what others do, and what fails.

A step that has no subject does nothing, so that a history can be shortened at any place.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cnpg_plugin_operator import errors, names
from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.cluster.kinds import Kind
from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.unit.cnpg_pods import identified
from tests.support.unit.stage.world import NAMESPACE
from tests.unit.histories.stage import ISSUER, HistoryStage

Act = Callable[..., Awaitable[None]]

SPECS: Final[tuple[dict[str, Any], ...]] = (
    {"mode": "Standalone", "tls": {"provider": "CertManager"}},
    {"mode": "Standalone", "tls": {"provider": "SelfManaged"}},
    {"mode": "Sidecar", "tls": {}},
)
CREATED: Final[tuple[dict[str, Any], ...]] = (*SPECS, {**SPECS[0], "pluginName": "a.example.org"})
"""What new resources ask for; several may claim a plugin's name, which cannot be changed later."""
EDITS: Final[tuple[dict[str, Any], ...]] = (
    *SPECS,
    {"image": "example.org/hello:1"},
    {"image": "example.org/hello:2"},
    {"port": 9090},
    {"port": 9191},
    {"replicas": 2},
    {"args": ["--verbose"]},
    {"service": {"name": "renamed"}},
    {"service": {}},
    {"cnpg": {"restartPolicy": "Always"}},
    {"cnpg": {"restartPolicy": "Never"}},
    {"deletionPolicy": "Delete"},
    {"suspend": True},
    {"suspend": False},
    {"args": []},
    {"image": "not an image"},
    {"tls": {"provider": "SelfManaged", "issuerScope": "Plugin"}},
    {"tls": {"provider": "CertManager", "issuerScope": "Plugin"}},
    {"tls": {"provider": "CertManager", "issuerRef": {"name": ISSUER}}},
)
TO_AN_ISSUER: Final = len(EDITS) - 1
"""Another issuer, which nothing trusts yet."""
ANSWERS: Final = (
    HandshakeOutcome(Reason.UNREACHABLE, "there is no route"),
    HandshakeOutcome(Reason.NO_ANSWER, "silence"),
    HandshakeOutcome(Reason.TLS_REJECTED, "unknown authority"),
    identified("another.example.org"),
)
CHILDREN: Final = (
    kinds.SERVICE,
    kinds.DEPLOYMENT,
    kinds.CERTIFICATE,
    kinds.SERVICE_ACCOUNT,
    kinds.SECRET,
)
TOGETHER: Final = timedelta(minutes=1)
"""How soon after the kubelet has updated its files a renewal still belongs to the one before."""
SECRETS: Final = ("", "-server-tls", "-client-tls")
READ: Final = ("Pod", "Cluster", "Event", "Issuer", "CNPGPlugin", "Service", "Secret")
_EVERYWHERE: Final[tuple[dict[str, Any], ...]] = (
    {"metadata": {"ownerReferences": []}},
    {"metadata": {"labels": {names.labels.MANAGED_BY: "another"}}},
    {"metadata": {"annotations": {}}},
)
DAMAGES: Final[tuple[tuple[Kind, dict[str, Any]], ...]] = (
    *((kind, change) for kind in (kinds.SERVICE, kinds.DEPLOYMENT) for change in _EVERYWHERE),
    (kinds.DEPLOYMENT, {"spec": {"replicas": 0}}),
    (kinds.DEPLOYMENT, {"spec": {"paused": True}}),
    (kinds.SERVICE, {"spec": {"type": "NodePort", "ports": [{"port": 1, "name": "x"}]}}),
    (kinds.SERVICE, {"spec": {"selector": {"app": "other"}}}),
)


@dataclass(frozen=True)
class Step:
    """One event of a history; its representation can be pasted as an example."""

    act: str
    """A function of this module."""
    given: tuple[Any, ...] = ()
    rounds: int = 1
    """How many rounds of passes follow."""

    async def run(self, stage: HistoryStage) -> None:
        """Let it happen, and the operator react."""
        await ACTS[self.act](stage, *self.given)
        for _ in range(self.rounds):
            await stage.round()


# What users do


async def create(stage: HistoryStage, name: str, number: int) -> None:
    """Create a resource."""
    stage.create(name, **CREATED[number])


async def edit(stage: HistoryStage, name: str, number: int) -> None:
    """Change a resource."""
    if stage.lives(name):
        stage.edit(name, **EDITS[number])


async def delete(stage: HistoryStage, name: str) -> None:
    """Delete a resource."""
    if stage.lives(name):
        await stage.end(kinds.PLUGIN, name)


async def renew(stage: HistoryStage, name: str) -> None:
    """Request new certificates."""
    if stage.lives(name):
        stage.ask_to_renew(name=name)


async def renew_authority(stage: HistoryStage, secret: str) -> None:
    """Request a new authority of the operator's own."""
    if stage.find(kinds.SECRET, secret):
        stage.ask_to_renew(kinds.SECRET, secret)


async def use(stage: HistoryStage, name: str) -> None:
    """Create a Cluster that uses a plugin."""
    if ("Cluster", "app", f"db-{name}") not in stage.client.objects:
        metadata = {"name": f"db-{name}", "namespace": "app"}
        spec = {"plugins": [{"name": f"{name}.example.org"}]}
        stage.client.put(kinds.CLUSTER, {"metadata": metadata, "spec": spec})


async def abandon(stage: HistoryStage, name: str) -> None:
    """Delete that Cluster."""
    if ("Cluster", "app", f"db-{name}") in stage.client.objects:
        await stage.end(kinds.CLUSTER, f"db-{name}", "app")


# What others do


async def remove(stage: HistoryStage, name: str, kind: Kind, suffix: str) -> None:
    """Delete a child."""
    if stage.find(kind, name + suffix):
        await stage.end(kind, name + suffix)


async def damage(stage: HistoryStage, name: str, number: int) -> None:
    """Change a child."""
    kind, changes = DAMAGES[number]
    live = stage.find(kind, name)
    for section, change in changes.items():
        if live is not None:
            known = live.setdefault(section, {})
            for key, value in change.items():
                empty = isinstance(value, dict) and isinstance(known.get(key), dict)
                known[key] = {**known[key], **value} if empty else value


async def rival(stage: HistoryStage, name: str) -> None:
    """Announce a plugin of the same name by another Service."""
    if stage.find(kinds.SERVICE, f"rival-of-{name}") is None:
        metadata = {
            "name": f"rival-of-{name}",
            "namespace": NAMESPACE,
            "labels": {names.cnpg.PLUGIN_NAME: f"{name}.example.org"},
            "annotations": {
                names.cnpg.PLUGIN_PORT: "9090",
                names.cnpg.SERVER_SECRET: "theirs",
                names.cnpg.CLIENT_SECRET: "theirs",
            },
        }
        spec = {"selector": {names.labels.PLUGIN: "theirs"}, "ports": [{"port": 9090}]}
        stage.client.put(kinds.SERVICE, {"metadata": metadata, "spec": spec})


async def no_rival(stage: HistoryStage, name: str) -> None:
    """Delete that Service."""
    if stage.find(kinds.SERVICE, f"rival-of-{name}"):
        await stage.end(kinds.SERVICE, f"rival-of-{name}")


async def reissue(stage: HistoryStage, secret: str) -> None:
    """Let cert-manager renew a certificate, as it does when its time has come.

    An authority and a client's certificate are not renewed together: cert-manager writes the Secret
    that CloudNativePG reads, so nothing can hold it back (docs/concepts/certificates.md).
    """
    if not secret.endswith("-server-tls"):
        now, authority = stage.clock(), secret == names.children.CHAIN_INTERMEDIATE
        other = stage.reissued.get(not authority)
        if other is not None and abs(now - other) <= stage.kubelet.lag + TOGETHER:
            return
        stage.reissued[authority] = now
    stage.world.renew(secret)


async def slow_down(stage: HistoryStage, lag: int, grace: int) -> None:
    """Let the kubelet be as late with changed files, and pods end as slowly."""
    stage.kubelet.lag = timedelta(seconds=lag)
    stage.kubelet.grace = timedelta(seconds=grace)


async def reapply_cnpg(stage: HistoryStage) -> None:
    """Replace CloudNativePG's Deployment with its manifest."""
    stage.world.replace_deployment()


async def restart_cnpg(stage: HistoryStage) -> None:
    """Delete CloudNativePG's newest pod."""
    if stage.world.pods:
        await stage.end(kinds.POD, stage.world.pods[-1]["metadata"]["name"])


async def scale_cnpg(stage: HistoryStage, replicas: int) -> None:
    """Scale CloudNativePG."""
    stage.world.live["spec"]["replicas"] = replicas
    stage.world.live["metadata"]["generation"] += 1


# What fails


async def fail(stage: HistoryStage, writes: int, after: bool) -> None:  # noqa: FBT001
    """Break the connection before, or after, one of the next writes."""
    stage.client.fail_at = len(stage.client.writes) + writes
    stage.client.fail_after = after


async def kill(stage: HistoryStage) -> None:
    """Restart the operator."""
    stage.reconciler = stage.operator()


async def lose_kind(stage: HistoryStage, kind: str) -> None:
    """Stop a read from working, or cert-manager from being installed."""
    if kind == "cert-manager":
        stage.client.missing = {"Issuer", "Certificate", "ClusterIssuer"}
    else:
        stage.client.unknown[kind] = errors.UnavailableError("the API server is not reachable")


async def regain_kinds(stage: HistoryStage) -> None:
    """End that."""
    stage.client.missing, stage.client.unknown = set(), {}


async def delay_watches(stage: HistoryStage, late: bool) -> None:  # noqa: FBT001
    """Let no event arrive, or all."""
    stage.facts.late = late


async def answer(stage: HistoryStage, name: str, number: int) -> None:
    """Let a plugin give a wrong answer, or none."""
    stage.answers.outcomes[f"{name}.example.org"] = ANSWERS[number]
    stage.world.outcomes[f"{name}.example.org"] = ANSWERS[number]


async def recover(stage: HistoryStage, name: str) -> None:
    """Let it answer correctly."""
    stage.answers.outcomes.pop(f"{name}.example.org", None)
    stage.world.outcomes.pop(f"{name}.example.org", None)


async def crash(stage: HistoryStage, number: int) -> None:
    """Let the sidecars of an image exit at once."""
    stage.world.crashing.add(f"example.org/hello:{number}")


async def jump(stage: HistoryStage, seconds: int) -> None:
    """Set the clock; what should have ended by then has ended."""
    stage.clock.pass_by(seconds)
    stage.kubelet.run()
    stage.owed += timedelta(seconds=max(0, -seconds))


ACTS: Final[dict[str, Act]] = {
    act.__name__: act
    for act in (
        create, edit, delete, renew, renew_authority, use, abandon, remove, damage, rival, no_rival,
        reissue, slow_down, reapply_cnpg, restart_cnpg, scale_cnpg, fail, kill, lose_kind,
        regain_kinds, delay_watches, answer, recover, crash, jump,
    )
}  # fmt: skip
