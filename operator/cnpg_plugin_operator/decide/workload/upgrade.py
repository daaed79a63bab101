"""Whether a plugin's pods may change now, and what the change may do to databases.

A plugin can inject containers into the pods of databases. When CloudNativePG reconciles a Cluster
and the plugin's answer has changed, it rolls these pods out, with a switchover
(internal/controller/cluster_upgrade.go, 1.24.4, 1.25.2 and newer): at once in versions that follow
a plugin's rollout, at its next start in others.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, unknown
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.spec import UpgradePolicy
from cnpg_plugin_operator.decide.facts.cnpg import ClusterFacts
from cnpg_plugin_operator.decide.registration.cluster_reports import list_names
from cnpg_plugin_operator.desired.objects import read_stamp

TOKEN_DIGITS: Final = 8
"""Enough of a digest to distinguish one change from the next."""

INJECTING: Final = frozenset({"LIFECYCLE_SERVICE", "INSTANCE_SIDECAR_INJECTION"})
"""Capabilities by which a plugin can change the pods of databases."""


_APPROVAL: Final = re.compile(re.escape(names.annotations.APPROVE) + r"=([0-9a-z]+)$")


@dataclass(frozen=True, slots=True)
class UpgradeInput:
    """What is known before a plugin's Deployment is applied."""

    plugin: Plugin
    wanted: Mapping[str, Any]
    """The Deployment to apply."""
    live: Mapping[str, Any] | None
    published: bool
    """Whether the plugin was announced to CloudNativePG; before that no database depends on it."""
    clusters: tuple[ClusterFacts, ...]
    capabilities: frozenset[str]
    """From the last handshake."""
    approval: str
    """The value of the resource's annotation."""

    @property
    def token(self) -> str:
        """What the user approves: this change and no other."""
        return read_stamp(self.wanted)[:TOKEN_DIGITS]

    @property
    def changes(self) -> bool:
        """Whether a Deployment that Clusters depend on differs from what was applied."""
        if self.live is None or not self.published or not self.clusters:
            return False
        return read_stamp(self.live) != read_stamp(self.wanted)


def decide_upgrade(given: UpgradeInput) -> Verdict | None:
    """Return a verdict while a change waits for approval; None where it may be made."""
    manual = given.plugin.spec.upgrade_policy is UpgradePolicy.MANUAL
    if not manual or not given.changes or given.approval == given.token:
        return None
    return await_approval(given.plugin.namespace, given.plugin.name, _describe(given), given.token)


def await_approval(namespace: str, name: str, change: str, token: str) -> Verdict:
    """Report that a change waits for approval, and how the user approves it."""
    return unknown(
        Reason.AWAITING_APPROVAL,
        f"{change} The change waits for approval, because upgradePolicy is Manual. To approve it: "
        f"kubectl annotate cnpgplugin {name} --namespace {namespace} --overwrite "
        f"{names.annotations.APPROVE}={token}",
    )


def find_token(message: str) -> str | None:
    """Find in such a verdict what the user approves; None where it was cut off."""
    found = _APPROVAL.search(message)
    return found[1] if found is not None else None


def announce_upgrade(given: UpgradeInput) -> str:
    """Describe what a change that is made now may do to databases; empty where nothing."""
    return _describe(given) if given.changes and given.capabilities & INJECTING else ""


def _describe(given: UpgradeInput) -> str:
    before, after = _image(given.live or {}), _image(given.wanted)
    what = f"image {before} becomes {after}" if before != after else "its pods change"
    return (
        f"Deployment {given.plugin.name}: {what}; {describe_users(given.clusters)}, and "
        "CloudNativePG may roll out the database pods that the plugin injects into."
    )


def describe_users(clusters: Sequence[ClusterFacts]) -> str:
    """Say how many Clusters use a plugin, and name the first: an upgrade would touch them."""
    number = len(clusters)
    use = "1 Cluster uses" if number == 1 else f"{number} Clusters use"
    named = f" ({list_names(clusters)})" if clusters else ""
    return f"{use} the plugin{named}"


def _image(body: Mapping[str, Any]) -> str:
    template = (body.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or []
    return next(
        (str(c.get("image")) for c in containers if c.get("name") == names.children.CONTAINER), ""
    )
