"""The part of the resources' status that the namespace's pass writes, under its own field manager.

It survives the operator, and is out of reach of those who manage CloudNativePG's Deployment and may
revert what was asked for there.
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
from cnpg_plugin_operator.api.status import read_status
from cnpg_plugin_operator.cluster.apply import Writer


@dataclass(slots=True)
class Records:
    """The records in one namespace, kept up with what its pass writes."""

    writer: Writer
    resources: dict[str, Resource] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, writer: Writer, bodies: Iterable[Mapping[str, Any]]) -> "Records":
        """Read what is recorded now."""
        records = cls(writer)
        for body in bodies:
            resource = parse_resource(body)
            records.resources[resource.name] = resource
            records.parts[resource.name] = shared_part(read_status(body))
        return records

    async def write_restart(
        self, names: Iterable[str], deployment: str, record: RestartRecord
    ) -> None:
        """Record a restart of CloudNativePG in the status of each of these resources."""
        section = {"deployment": deployment, "lastRestart": build_restart_record(record)}
        for name in names:
            if name in self.parts:
                await self._write(name, {**self.parts[name], "cnpg": section})

    async def write_sidecar(self, name: str, record: SidecarRecord | None) -> None:
        """Record what was seen of a sidecar, and done about it; None drops the record."""
        part = {key: value for key, value in self.parts[name].items() if key != "sidecar"}
        if record is not None:
            part["sidecar"] = build_sidecar_record(record)
        await self._write(name, part)

    async def _write(self, name: str, part: dict[str, Any]) -> None:
        if part != self.parts[name]:
            await self.writer.report_shared(self.resources[name], part)
            self.parts[name] = part
