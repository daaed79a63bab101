"""How a plugin is announced to CloudNativePG: the annotations of its Service.

The Service itself records what was announced, and when, so an operator that is killed at any point
neither forgets an announcement nor repeats it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.api.times import format_time, read_time
from cnpg_plugin_operator.api.untrusted import read_json
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts, Touch
from cnpg_plugin_operator.decide.facts.cnpg_versions import (
    parse_version,
    reads_server_name,
    reregisters,
)

ENDPOINT: Final = frozenset(
    {
        names.cnpg.PLUGIN_PORT,
        names.cnpg.SERVER_SECRET,
        names.cnpg.CLIENT_SECRET,
        names.cnpg.SERVER_NAME,
    }
)
"""The annotations that tell CloudNativePG what to dial."""


def as_verified(plugin: Plugin, cnpg: Sequence[CNPGFacts]) -> Plugin:
    """Return the plugin with the server name that its CloudNativePG verifies.

    A version that does not read the name in the spec verifies the Service's, so the operator's own
    handshake has to do that as well.
    """
    known = [version for each in cnpg if (version := parse_version(each.version)) is not None]
    if plugin.spec.tls.server_name is None or all(map(reads_server_name, known)):
        return plugin
    tls = plugin.spec.tls.model_copy(update={"server_name": None})
    return replace(plugin, spec=plugin.spec.model_copy(update={"tls": tls}))


def announce(
    live: Announcement | None,
    endpoint: Mapping[str, str],
    *,
    endpoint_hash: str,
    revision: str,
    now: datetime,
    touch: Touch | None = None,
    replaces: bool = False,
) -> Mapping[str, str]:
    """Return the annotations of the Service.

    `endpoint` is what CloudNativePG reads. The times stay unchanged while the revision does.
    `touch` changes the Service once more for the same revision; `replaces` says that CloudNativePG
    still uses an earlier announcement of the same plugin.
    """
    announced_at, changed_at, previous = now, now if replaces else None, ""
    if live is not None:
        previous = live.replaces if live.revision == revision else live.revision
        announced_at = live.announced_at if live.revision == revision else now
        changed_at = live.changed_at if live.endpoint == endpoint_hash else now
    annotations = {
        **endpoint,
        names.annotations.REVISION: revision,
        names.annotations.ENDPOINT: endpoint_hash,
        names.annotations.ANNOUNCED_AT: format_time(announced_at),
    }
    if changed_at is not None:
        annotations[names.annotations.CHANGED_AT] = format_time(changed_at)
    if previous:
        annotations[names.annotations.REPLACES] = previous
    if touch is None and live is not None and live.revision == revision:
        touch = live.touch
    if touch is not None:
        annotations[names.annotations.TOUCHED] = write_touch(touch)
    return annotations


def keep_announcing(
    live: Announcement, endpoint: Mapping[str, str], endpoint_hash: str
) -> Mapping[str, str]:
    """Return the annotations of a published Service until its plugin is proven again.

    The announcement is kept, edits by others are reverted. Only while the endpoint is about to
    change are the present annotations the best known ones.
    """
    if live.endpoint != endpoint_hash:
        return live.annotations
    said = {key: value for key, value in live.annotations.items() if key not in ENDPOINT}
    said.pop(names.annotations.TOUCHED, None)
    touched = {names.annotations.TOUCHED: write_touch(live.touch)} if live.touch else {}
    return {**said, **touched, **endpoint}


def write_touch(touch: Touch) -> str:
    """Format a touch as the Service records it."""
    recorded = {"at": format_time(touch.at), "for": touch.reason, "times": touch.times}
    return json.dumps(recorded, sort_keys=True)


def read_touch(text: object) -> Touch | None:
    """Read a touch from the Service; text that this operator did not write counts as none."""
    recorded = read_json(text)
    at, reason, times = read_time(recorded.get("at")), recorded.get("for"), recorded.get("times")
    if at is None or not isinstance(reason, str) or not isinstance(times, int):
        return None
    return Touch(at, reason, max(times, 1))


def is_still_in_use(plugin_name: str, cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG still has the connection to a plugin that was withdrawn.

    1.24.0 to 1.24.3 and 1.25.0 to 1.25.1 neither forget a plugin whose Service is deleted nor read
    the Service that replaces it (internal/controller/plugin_controller.go).
    """
    version, withdrawn = parse_version(cnpg.version), cnpg.withdrawn.get(plugin_name)
    if version is None or reregisters(version) or withdrawn is None:
        return False
    return cnpg.leader is None or cnpg.leader.created <= withdrawn
