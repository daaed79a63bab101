"""Whether a resource may take over the Service that it names.

A Service that becomes the plugin's own is changed in place: pods of both installations may get
calls for a moment, so all that CloudNativePG dials has to be the same for both.
"""

from dataclasses import dataclass
from typing import Final

from cnpg_plugin_operator import names
from cnpg_plugin_operator.api.conditions import Reason, Verdict, no
from cnpg_plugin_operator.api.plugin import Plugin
from cnpg_plugin_operator.decide import first
from cnpg_plugin_operator.decide.facts.cnpg import CNPGFacts
from cnpg_plugin_operator.decide.facts.cnpg_versions import (
    parse_version,
    reads_server_name,
    reregisters,
)
from cnpg_plugin_operator.decide.facts.take_over import Previous

ELSEWHERE: Final = "choose another spec.service.name: CloudNativePG then moves to that Service"


@dataclass(frozen=True, slots=True)
class TakeOverInput:
    """The input of the checks."""

    plugin: Plugin
    previous: Previous
    cnpg: CNPGFacts
    granted: bool

    @property
    def subject(self) -> str:
        """Names the Service."""
        return f"Service {self.plugin.namespace}/{self.previous.service}"


def judge_take_over(given: TakeOverInput) -> Verdict | None:
    """Refuse a take-over that is not granted or cannot be made without an outage."""
    return first(CHECKS, given)


def _ungranted(given: TakeOverInput) -> Verdict | None:
    """The administrator allows no take-over."""
    if given.granted:
        return None
    return no(
        Reason.INVALID_SPEC,
        "spec.takeOver: the operator may not take over Services of other owners; an administrator "
        "can allow it with the chart value takeOver.allowed.",
    )


def _of_another_plugin(given: TakeOverInput) -> Verdict | None:
    """Another resource has the Service."""
    if not given.previous.plugin:
        return None
    return no(
        Reason.NAME_CONFLICT,
        f"spec.takeOver.serviceName: {given.subject} belongs to CNPGPlugin "
        f"{given.previous.plugin}, which keeps it: delete that resource, or name another Service.",
    )


def _unpublished(given: TakeOverInput) -> Verdict | None:
    """The Service that is to become the plugin's own is not one of this plugin."""
    if given.previous.published or not _is_changed_in_place(given):
        return None
    return no(
        Reason.NAME_CONFLICT,
        f"{given.subject} cannot be taken over, for it has not the label {names.cnpg.PLUGIN_NAME}="
        f"{given.plugin.plugin_name}: choose another spec.service.name, or delete it.",
    )


def _another_port(given: TakeOverInput) -> Verdict | None:
    """CloudNativePG dials another port than the plugin's."""
    wanted, port = str(given.plugin.spec.port), given.previous.port
    if not port or port == wanted or not _is_changed_in_place(given):
        return None
    return no(
        Reason.NAME_CONFLICT,
        f"{given.subject} announces port {port}, and spec.port is {wanted}: use that port, or "
        f"{ELSEWHERE}.",
    )


def _another_server_name(given: TakeOverInput) -> Verdict | None:
    """CloudNativePG verifies another name than the plugin's."""
    wanted, name = given.plugin.server_name, given.previous.server_name
    version = parse_version(given.cnpg.version)
    if version is not None and not reads_server_name(version):
        name = given.previous.service
    if name == wanted or not _is_changed_in_place(given):
        return None
    return no(
        Reason.NAME_CONFLICT,
        f"CloudNativePG verifies the server behind {given.subject} for the name {name}, and this "
        f"plugin's for {wanted}: set spec.tls.serverName to {name}, or {ELSEWHERE}.",
    )


def _keeping_version(given: TakeOverInput) -> Verdict | None:
    """This version keeps the certificates that it read first; see `reregisters`."""
    version = parse_version(given.cnpg.version)
    same = given.previous.secrets == (given.plugin.server_secret, given.plugin.client_secret)
    if version is None or reregisters(version) or same or not _is_changed_in_place(given):
        return None
    server, client = given.previous.secrets
    return no(
        Reason.NAME_CONFLICT,
        f"CloudNativePG {given.cnpg.version} reads the Secrets of {given.subject} only when it "
        f"starts: use them (spec.tls.provider: Secrets, with server {server} and client {client}), "
        f"or {ELSEWHERE}.",
    )


def _is_changed_in_place(given: TakeOverInput) -> bool:
    return given.plugin.adopts and given.previous.foreign


CHECKS: Final = (
    _ungranted,
    _of_another_plugin,
    _unpublished,
    _another_port,
    _another_server_name,
    _keeping_version,
)
"""In order: rights, owners, then what CloudNativePG dials."""
