"""How CloudNativePG is told of a plugin: the annotations of its Service.

The Service itself records what was announced, and when: an operator that was killed at any point
neither forgets an announcement nor repeats it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.times import format_time, read_time
from cnpg_plugin_operator.api.untrusted import read_json
from cnpg_plugin_operator.decide.facts.cnpg import Announcement, CNPGFacts, Touch
from cnpg_plugin_operator.decide.facts.cnpg_versions import parse_version, reregisters

ENDPOINT: Final = frozenset(
    {
        names.cnpg.PLUGIN_PORT,
        names.cnpg.SERVER_SECRET,
        names.cnpg.CLIENT_SECRET,
        names.cnpg.SERVER_NAME,
    }
)
"""The annotations that CloudNativePG dials by."""


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
    """Give the annotations of the Service.

    `endpoint` is what CloudNativePG reads. The times stay what they are while the revision is the
    announced one. `touch` changes the Service once more for the same revision; `replaces` says
    that a first announcement finds a previous one of the same plugin still in use.
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
    """Give the annotations of a published Service before its plugin is proven again.

    What was announced stays; edits by others do not. Only while the endpoint itself is about to
    change, nothing better is known than the present annotations.
    """
    if live.endpoint != endpoint_hash:
        return live.annotations
    said = {key: value for key, value in live.annotations.items() if key not in ENDPOINT}
    said.pop(names.annotations.TOUCHED, None)
    touched = {names.annotations.TOUCHED: write_touch(live.touch)} if live.touch else {}
    return {**said, **touched, **endpoint}


def write_touch(touch: Touch) -> str:
    """Write a touch as the Service records it."""
    noted = {"at": format_time(touch.at), "for": touch.reason, "times": touch.times}
    return json.dumps(noted, sort_keys=True)


def read_touch(text: object) -> Touch | None:
    """Read a touch from the Service; what this operator did not write counts as none."""
    noted = read_json(text)
    at, reason, times = read_time(noted.get("at")), noted.get("for"), noted.get("times")
    if at is None or not isinstance(reason, str) or not isinstance(times, int):
        return None
    return Touch(at, reason, max(times, 1))


def is_still_in_use(plugin_name: str, cnpg: CNPGFacts) -> bool:
    """Whether CloudNativePG still has the connection of a plugin that was withdrawn.

    1.24.0 to 1.24.3 and 1.25.0 to 1.25.1 neither forget a plugin whose Service is deleted nor look
    at the Service that takes its place (internal/controller/plugin_controller.go).
    """
    version, withdrawn = parse_version(cnpg.version), cnpg.withdrawn.get(plugin_name)
    if version is None or reregisters(version) or withdrawn is None:
        return False
    return cnpg.leader is None or cnpg.leader.created <= withdrawn
