"""Versions of published plugins that are known not to work with a version of CloudNativePG.

`KNOWN` is the one table; it has only what the plugins' own issues and releases say, and nothing
that was merely guessed. It is advice: it must never change what the operator does, nor make a
plugin not Ready, for a plugin that cannot restore may archive very well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cnpg_plugin_operator.api.conditions import Verdict
from cnpg_plugin_operator.api.untrusted import mapping
from cnpg_plugin_operator.decide.facts.cnpg_versions import Version, parse_version
from cnpg_plugin_operator.decide.facts.plugin import Identity


@dataclass(frozen=True, slots=True)
class Skew:
    """A plugin that does not work with newer versions of CloudNativePG."""

    plugin: str
    """Its name in CNPG-I."""
    cnpg: Version
    """The first version of CloudNativePG with which it does not work."""
    problem: str
    fixed: Version | None
    """The first version of the plugin that works; None where no release says so."""
    source: str
    """Where the plugin's authors describe it, for users."""


IN_POD: Final = (
    "restores fail: CloudNativePG prepares instances in their own pods, no longer in Jobs "
    "(cloudnative-pg #11319), and the plugin restores only in Jobs"
)
OWN_COMMAND: Final = (
    "restores fail: CloudNativePG keeps the restore_command that pgBackRest writes, and PostgreSQL "
    "cannot run it"
)
KNOWN: Final = (
    # 0.14.0 has no restore hooks in its instance sidecar (internal/cnpgi/instance).
    Skew("barman-cloud.cloudnative-pg.io", (1, 31, 0), IN_POD, None, "plugin-barman-cloud #1025"),
    Skew("klio.cnpg.io", (1, 31, 0), IN_POD, None, "klio #192, #196"),
    Skew(
        "pgbackrest.cnpg.opera.com",
        (1, 31, 0),
        IN_POD,
        (0, 9, 0),
        "operasoftware/cnpg-plugin-pgbackrest #154",
    ),
    Skew(
        "pgbackrest.cnpg.opera.com",
        (1, 29, 0),
        OWN_COMMAND,
        (0, 6, 0),
        "operasoftware/cnpg-plugin-pgbackrest #80",
    ),
    Skew(
        "pgbackrest.dalibo.com",
        (1, 29, 0),
        OWN_COMMAND,
        None,
        "dalibo/cnpg-plugin-pgbackrest #115, #116",
    ),
)


def find_skew(plugin: str, version: str, cnpg: str) -> str:
    """Describe what is known not to work between a plugin and CloudNativePG, and the remedy.

    Empty where nothing is known, or CloudNativePG's version is not.
    """
    of_plugin, of_cnpg = parse_version(version), parse_version(cnpg)
    if of_cnpg is None:
        return ""
    found = (
        each
        for each in KNOWN
        if each.plugin == plugin and of_cnpg >= each.cnpg and not _is_fixed(each, of_plugin)
    )
    return " ".join(
        f"{'Known' if each.fixed else 'Possible'} problem of {plugin} {version} with "
        f"CloudNativePG {cnpg}: {each.problem}. {_describe_remedy(each)}"
        for each in found
    )


def read_skew(status: Mapping[str, Any]) -> str:
    """Describe the same for what a resource's status reports of both."""
    plugin, cnpg = mapping(status.get("plugin")), mapping(status.get("cnpg"))
    said = (plugin.get("name"), plugin.get("version"), cnpg.get("version"))
    return find_skew(*(str(each or "") for each in said))


def add_skew(verdict: Verdict, identity: Identity | None, cnpg: str) -> Verdict:
    """Add to the verdict on a registered plugin what is known not to work all the same."""
    if identity is None or not verdict.is_true:
        return verdict
    skew = find_skew(identity.name, identity.version, cnpg)
    return replace(verdict, message=f"{verdict.message} {skew}") if skew else verdict


def _is_fixed(skew: Skew, version: Version | None) -> bool:
    return skew.fixed is not None and version is not None and version >= skew.fixed


def _describe_remedy(skew: Skew) -> str:
    if skew.fixed is None:
        return f"Check whether this version of the plugin has the fix ({skew.source})."
    return f"Use version {'.'.join(map(str, skew.fixed))} or newer of the plugin ({skew.source})."
