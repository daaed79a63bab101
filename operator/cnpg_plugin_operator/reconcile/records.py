"""The part of the resources' status that the namespace's pass writes, under its own field manager.

It survives the operator, and those who manage CloudNativePG's Deployment and may revert changes
there do not write it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cnpg_plugin_operator.api.plugin import Resource, parse_resource
from cnpg_plugin_operator.api.records import (
    RestartRecord,
    SidecarRecord,
    build_restart_record,
    build_sidecar_record,
    shared_part,
)
from cnpg_plugin_operator.api.status import STATUS, read_status
from cnpg_plugin_operator.reconcile.writes import Record, RecordEvent


@dataclass(slots=True)
class Records:
    """The records in one namespace, kept up with what its pass plans."""

    resources: dict[str, Resource] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, bodies: Iterable[Mapping[str, Any]]) -> "Records":
        """Read the present records."""
        records = cls()
        for body in bodies:
            resource = parse_resource(body)
            records.resources[resource.name] = resource
            records.parts[resource.name] = shared_part(read_status(body))
        return records

    def record_restart(
        self, names: Iterable[str], deployment: str, restart: RestartRecord
    ) -> list[Record]:
        """Plan to record a restart of CloudNativePG in the status of each of these resources."""
        section = {"deploymentName": deployment, "lastRestart": build_restart_record(restart)}
        wanted = {
            name: {**self.parts[name], "cnpg": section} for name in names if name in self.parts
        }
        return [record for name, part in wanted.items() for record in self._plan(name, part)]

    def record_sidecar(self, name: str, sidecar: SidecarRecord | None) -> list[Record]:
        """Plan to record what was seen of a sidecar, and done about it; None drops the record."""
        if sidecar is None and "sidecar" not in self.parts[name]:
            return []
        part = {key: value for key, value in self.parts[name].items() if key != "sidecar"}
        if sidecar is not None:
            part["sidecar"] = build_sidecar_record(sidecar)
        return self._plan(name, part)

    def record_event(self, names: Iterable[str], reason: str, message: str) -> list[RecordEvent]:
        """Plan Events on those of these resources that exist."""
        found = (self.resources.get(name) for name in names)
        return [RecordEvent(each, reason, message) for each in found if each is not None]

    def _plan(self, name: str, part: dict[str, Any]) -> list[Record]:
        """Plan a part if it differs, bounded as it will be read again."""
        part = STATUS.fit(part) or {}
        if part == self.parts[name]:
            return []
        self.parts[name] = part
        return [Record(self.resources[name], part)]
