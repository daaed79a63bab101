"""Whether a change of a plugin's pods may be made now, and what it may do to databases.

A plugin can inject containers into the pods of databases. Once CloudNativePG looks at a Cluster and
the plugin says something else than before, it rolls these pods, with a switchover
(internal/controller/cluster_upgrade.go, 1.24.4, 1.25.2 and newer): at once where it follows a
plugin's rollout, at its next start elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import UpgradePolicy
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts
from cnpg_plugin_operator.decide.registration.cluster_reports import list_names

TOKEN_DIGITS: Final = 8
"""Enough of a digest to tell one change from the next."""

INJECTING: Final = frozenset({"LIFECYCLE_SERVICE", "INSTANCE_SIDECAR_INJECTION"})
"""Capabilities by which a plugin has a say in the pods of databases."""


@dataclass(frozen=True, slots=True)
class UpgradeInput:
    """What is known before a plugin's Deployment is applied."""

    plugin: Plugin
    wanted: Mapping[str, Any]
    """The Deployment that is to be."""
    live: Mapping[str, Any] | None
    published: bool
    """Whether CloudNativePG was told of the plugin: before, no database depends on it."""
    clusters: tuple[ClusterFacts, ...]
    capabilities: frozenset[str]
    """As of the last handshake."""
    approval: str
    """The value of the resource's annotation."""

    @property
    def token(self) -> str:
        """What a person approves: this change and no other."""
        return _digest(self.wanted)[:TOKEN_DIGITS]

    @property
    def changes(self) -> bool:
        """Whether a Deployment that Clusters depend on is to be another than was applied."""
        if self.live is None or not self.published or not self.clusters:
            return False
        return _digest(self.live) != _digest(self.wanted)


def decide_upgrade(given: UpgradeInput) -> Verdict | None:
    """Hold a change that nobody approved yet; None where it may be made."""
    manual = given.plugin.spec.upgrade_policy is UpgradePolicy.MANUAL
    if not manual or not given.changes or given.approval == given.token:
        return None
    return await_approval(given.plugin.namespace, given.plugin.name, _describe(given), given.token)


def await_approval(namespace: str, name: str, change: str, token: str) -> Verdict:
    """Say of a change that it is held, and how a person lets it through."""
    return unknown(
        Reason.AWAITING_APPROVAL,
        f"{change} It is held, for upgradePolicy is Manual. To let it through: kubectl "
        f"annotate cnpgplugin {name} --namespace {namespace} --overwrite "
        f"{names.annotations.APPROVE}={token}",
    )


def announce_upgrade(given: UpgradeInput) -> str:
    """Say what a change that is made now may do to databases; empty where it does nothing."""
    return _describe(given) if given.changes and given.capabilities & INJECTING else ""


def _describe(given: UpgradeInput) -> str:
    before, after = _image(given.live or {}), _image(given.wanted)
    what = f"image {before} becomes {after}" if before != after else "its pods change"
    number = len(given.clusters)
    use = "1 Cluster uses" if number == 1 else f"{number} Clusters use"
    return (
        f"Deployment {given.plugin.name}: {what}; {use} the plugin "
        f"({list_names(given.clusters)}), and CloudNativePG may roll the pods of what it injects "
        "into."
    )


def _digest(body: Mapping[str, Any]) -> str:
    annotations = body["metadata"].get("annotations") or {}
    return str(annotations.get(names.annotations.DESIRED, ""))


def _image(body: Mapping[str, Any]) -> str:
    template = (body.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or []
    return next(
        (str(c.get("image")) for c in containers if c.get("name") == names.children.CONTAINER), ""
    )
