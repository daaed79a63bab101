"""What the passes of plugins and of their namespace exchange.

A plugin's pass declares what it needs from the shared parts. The namespace's pass, their only
writer, publishes what it read and decided, and wakes the plugins for which that changed. Nothing
here outlives the process: the next passes declare and publish it again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cnpg_plugin_operator.api.conditions import Type
from cnpg_plugin_operator.api.spec import Provider
from cnpg_plugin_operator.cluster.namespace import CNPGSnapshot
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.registration.restart import RestartDecision, RestartNeed
from cnpg_plugin_operator.decide.sidecar.rollout import Rollout
from cnpg_plugin_operator.decide.sidecar.sidecar_set import SidecarSet

Key = tuple[str, ...]
"""Namespace and name of a resource; the namespace alone for what its plugins share."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a plugin's last pass needs."""

    uid: str
    generation: int
    reference: str = ""
    """`spec.cnpg.deploymentName`"""
    sidecar: bool = False
    """Whether it may run in CloudNativePG's pod as this generation specifies."""
    restart: RestartNeed | None = None
    chain: Provider | None = None
    """Whose certificate chain it needs."""
    root_only: bool = False
    """Whether the root of it is enough: the plugin has an intermediate of its own."""
    leaves: bool = False
    """Whether nothing is left of a deleted resource but the chain that it may have used."""
    look_within: float | None = field(default=None, compare=False)
    """Seconds within which CloudNativePG should be read again, because no event may report it."""

    def is_more_urgent_than(self, other: "Wants | None") -> bool:
        """Whether CloudNativePG should be read earlier than before."""
        if self.look_within is None:
            return False
        return other is None or other.look_within is None or self.look_within < other.look_within


@dataclass(frozen=True, slots=True)
class Chains:
    """The certificate chains that plugins share, as the namespace's last pass left them."""

    kept: Mapping[Provider, tuple[str, ...]] = field(default_factory=dict)
    """The chains that are there, with the fingerprints of what the operator itself issued."""
    failed: Mapping[Provider, Exception] = field(default_factory=dict)
    """Why a chain could not be kept."""
    left: frozenset[str] = frozenset()
    """The uids of deleted resources whose chains are gone, unless others use them."""
    unpruned: Exception | None = None
    """Why a chain that nothing uses could not be deleted."""

    def check(self, provider: Provider) -> None:
        """Raise the error that kept the namespace's pass from keeping a chain."""
        if (error := self.failed.get(provider)) is not None:
            raise error

    def part_for(self, wants: Wants) -> tuple[object, ...]:
        """Give what concerns one plugin."""
        if wants.leaves:
            return wants.uid in self.left, self.unpruned
        if wants.chain is None:
            return ()
        return self.kept.get(wants.chain), self.failed.get(wants.chain)


@dataclass(frozen=True, slots=True)
class CNPGView:
    """CloudNativePG as found by one `spec.cnpg.deploymentName`, and the decisions for it."""

    seen: CNPGSnapshot
    restart: RestartDecision | None = None
    """None where no plugin needs a restart."""
    refused: tuple[str, str] | None = None
    """The pod that the operator may not delete under OLM, and the API server's message."""
    sidecars: SidecarSet | None = None
    """None where there is no sidecar, or not exactly one CloudNativePG."""
    rollout: Rollout | None = None
    judged: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The resources whose sidecars were evaluated, with the uid and the generation."""
    failed: Mapping[Type, Exception] = field(default_factory=dict)
    """Errors that ended a part of the namespace's pass, by the condition that needs the part."""

    @property
    def cnpg(self) -> tuple[CNPGFacts, ...]:
        """The CloudNativePG operators that were found."""
        return self.seen.cnpg

    def without_sidecars(self) -> "CNPGView":
        """Return what a plugin with its own Service depends on."""
        failed: dict[Type, Exception] = {**self.failed}
        failed.pop(Type.AVAILABLE, None)
        cnpg = (
            replace(
                c,
                pods=(),
                evictions=(),
                environment=None,
                template={},
                changed_by="",
                rolled_at=None,
            )
            for c in self.cnpg
        )
        seen = replace(self.seen, cnpg=tuple(cnpg), unread=None)
        return CNPGView(seen, self.restart, self.refused, failed=failed)


def _wake_nothing(_: Key) -> None:
    """The caller runs the passes."""


Views = Mapping[str, CNPGView]
"""By the values of `spec.cnpg.deploymentName`."""


@dataclass(slots=True)
class Shared:
    """Keeps the last declaration or publication of every pass."""

    wake: Callable[[Key], None] = _wake_nothing
    _wants: dict[tuple[str, str], Wants] = field(default_factory=dict)
    _views: dict[str, Views | Exception] = field(default_factory=dict)
    _chains: dict[str, Chains] = field(default_factory=dict)
    _waiting: set[tuple[str, str]] = field(default_factory=set)
    """Whose last pass lacked something that the namespace's next one decides."""

    def declare(self, namespace: str, name: str, wants: Wants) -> None:
        """Record what a plugin needs now; the namespace's pass runs if that is new."""
        before = self._wants.get((namespace, name))
        self._wants[namespace, name] = wants
        if before != wants or wants.is_more_urgent_than(before):
            self.wake((namespace,))

    def forget(self, namespace: str, name: str) -> None:
        """Drop the state of a resource that is gone; its sidecar may have to be removed."""
        self._waiting.discard((namespace, name))
        if self._wants.pop((namespace, name), None) is not None:
            self.wake((namespace,))

    def wants(self, namespace: str) -> dict[str, Wants]:
        """Return what the plugins of a namespace need, by the names of their resources."""
        return {name: wants for (where, name), wants in self._wants.items() if where == namespace}

    def view(self, namespace: str, name: str, reference: str) -> CNPGView | None:
        """Return the last view of CloudNativePG; None before the first, which wakes the plugin.

        Raises the error that ended the namespace's last pass.
        """
        views = self._views.get(namespace)
        if isinstance(views, Exception):
            raise views
        found = views.get(reference) if views is not None else None
        if found is None:
            self.wait(namespace, name)
        return found

    def wait(self, namespace: str, name: str) -> None:
        """Wake the namespace, and the plugin after its pass."""
        self._waiting.add((namespace, name))
        self.wake((namespace,))

    def chains(self, namespace: str) -> Chains:
        """Give the namespace's chains as its last pass left them."""
        return self._chains.get(namespace, Chains())

    def publish(self, namespace: str, views: Views, chains: Chains) -> None:
        """Publish what was read and decided; wake the plugins that depend on what changed."""
        earlier = self.chains(namespace)
        self._chains[namespace] = chains
        before = self._views.get(namespace)
        known: Views = before if isinstance(before, Mapping) else {}
        self._views[namespace] = views
        changed = {ref for ref, view in views.items() if known.get(ref) != view}
        changed_without = {
            ref
            for ref in changed
            if ref not in known or known[ref].without_sidecars() != views[ref].without_sidecars()
        }
        for name, wants in self.wants(namespace).items():
            concerned = wants.reference in (changed if wants.sidecar else changed_without)
            if concerned or chains.part_for(wants) != earlier.part_for(wants):
                self._waiting.add((namespace, name))
        self._wake_waiting(namespace)

    def fail(self, namespace: str, error: Exception) -> None:
        """Publish that the namespace's pass failed: its plugins report it."""
        self._views[namespace] = error
        self._waiting |= {(namespace, name) for name in self.wants(namespace)}
        self._wake_waiting(namespace)

    def _wake_waiting(self, namespace: str) -> None:
        for key in sorted(key for key in self._waiting if key[0] == namespace):
            self._waiting.discard(key)
            self.wake(key)
