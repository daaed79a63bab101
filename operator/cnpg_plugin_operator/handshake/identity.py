"""Calls a plugin as CloudNativePG does when it loads it, in the same order, over any channel.

CloudNativePG does not reconcile the Clusters of a plugin that it cannot load: one failing call here
would be one failing call there (`internal/cnpi/plugin/connection/connection.go`, `LoadPlugin`).
Generated messages and gRPC's errors stay in this module.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from cnpg_plugin_operator.api.conditions import Reason
from cnpg_plugin_operator.decide.facts.plugin import Identity

from . import identity_pb2
from .channels import MOST_RECEIVED
from .progress import HandshakeError, Progress

_IDENTITY: Final = "cnpgi.identity.v1.Identity"


@dataclass(frozen=True, slots=True)
class Service:
    """One service that a plugin may advertise."""

    type: int
    """Number in `PluginCapability.Service.Type`."""
    name: str
    """The name of that number, without `TYPE_`."""
    full_name: str | None
    """The gRPC service whose `GetCapabilities` CloudNativePG calls; None where it calls none."""


SERVICES: Final = (
    Service(0, "UNSPECIFIED", None),
    Service(1, "OPERATOR_SERVICE", "cnpgi.operator.v1.Operator"),
    Service(4, "LIFECYCLE_SERVICE", "cnpgi.operator_lifecycle.v1.OperatorLifecycle"),
    Service(2, "WAL_SERVICE", "cnpgi.wal.v1.WAL"),
    Service(3, "BACKUP_SERVICE", "cnpgi.backup.v1.Backup"),
    Service(5, "RECONCILER_HOOKS", "cnpgi.reconciler.v1.ReconcilerHooks"),
    Service(6, "RESTORE_JOB", "cnpgi.wal.v1.RestoreJobHooks"),
    Service(7, "POSTGRES", "cnpgi.identity.v1.Postgres"),
    Service(10, "METRICS", "cnpgi.metrics.v1.Metrics"),
    Service(8, "INSTANCE_SIDECAR_INJECTION", None),
    Service(9, "INSTANCE_JOB_SIDECAR_INJECTION", None),
)
"""CNPG-I v0.6.0, in the order of CloudNativePG 1.30.0's calls; it ignores unknown numbers."""

_HEALTH: Final = "grpc.health.v1.Health"
_HEALTH_STATUS: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = 1

_MAX_TEXT: Final = 256
"""Maximum characters of a text that the plugin reports."""

_MAX_CAPABILITIES: Final = 64
"""Maximum advertised services that are kept; the protocol defines eleven."""

_MAX_ENTRIES: Final = 1000
"""Maximum advertised services that are read."""

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Line:
    """A channel to an expected plugin."""

    channel: grpc.aio.Channel
    where: str
    """The name of the other end in messages."""
    unusable: Callable[[str], HandshakeError]
    """Explains, from gRPC's status, why not even the first call succeeded. That call makes the
    connection, so only the opener of the channel knows what its failure means."""


async def identify(line: Line, plugin_name: str, progress: Progress) -> Identity:
    """Load the plugin as CloudNativePG would, then close the channel. Raises `HandshakeError`."""
    async with line.channel:
        dialogue = _Dialogue(line, progress)
        await dialogue.introduce(plugin_name)
        await dialogue.list_services()
        await dialogue.probe()
        await dialogue.check_health()
    return dialogue.identity


class _Dialogue:
    """The calls on one channel; the answers so far are kept for the outcome."""

    def __init__(self, line: Line, progress: Progress) -> None:
        self._line = line
        self._progress = progress
        self.identity = Identity(name="", version="")

    async def introduce(self, expected: str) -> None:
        """Get the plugin's name, which must be the expected one."""
        said = await self._ask("GetPluginMetadata", identity_pb2.MetadataResponse)
        self._learn(
            Identity(
                name=_clip(said.name),
                version=_clip(said.version),
                display_name=_clip(said.display_name),
                vendor=_clip(said.vendor),
                license=_clip(said.license),
                maturity=_clip(said.maturity),
                url=_clip(said.project_url or said.repository_url),
            )
        )
        if said.name != expected:
            raise self._failure(
                Reason.IDENTITY_MISMATCH,
                f"calls itself {self.identity.name!r}, not {expected!r}: correct spec.image, or "
                "delete this resource and create it with that name (spec.pluginName never "
                "changes).",
            )

    async def list_services(self) -> None:
        """Get the advertised services, then the capabilities of each."""
        said = await self._ask("GetPluginCapabilities", identity_pb2.CapabilitiesResponse)
        if len(said.capabilities) > _MAX_ENTRIES:
            raise self._failure(
                Reason.NOT_A_PLUGIN,
                f"advertises {len(said.capabilities)} capabilities; CNPG-I has {len(SERVICES)}. "
                "Correct the plugin.",
            )
        types = {c.service.type for c in said.capabilities if c.HasField("service")}
        known = {service.type: service.name for service in SERVICES}
        names = sorted(known.get(number, f"UNKNOWN_{number}") for number in types)
        self._learn(replace(self.identity, capabilities=tuple(names[:_MAX_CAPABILITIES])))
        for service in SERVICES:
            if service.type in types and service.full_name is not None:
                await self._load(service.name, service.full_name)

    async def _load(self, name: str, full_name: str) -> None:
        try:
            await self._call(f"/{full_name}/GetCapabilities")
        except grpc.aio.AioRpcError as error:
            raise self._failure(
                Reason.CAPABILITY_FAILED,
                f"advertises {name}, but {full_name}/GetCapabilities returns {_status(error)}: "
                "CloudNativePG would not load the plugin. Correct the plugin.",
            ) from error

    async def probe(self) -> None:
        """Check whether the plugin is ready, as CloudNativePG does before each use.

        CloudNativePG checks only for an error, and the protocol defines an absent value as ready.
        An explicit false means that the plugin itself reports not to be ready.
        """
        said = await self._ask("Probe", identity_pb2.ProbeResponse)
        if said.HasField("ready") and not said.ready:
            raise self._failure(
                Reason.NOT_SERVING, "answers Probe with ready=false. See the plugin's log."
            )

    async def check_health(self) -> None:
        """Check the standard health service, where the plugin has one."""
        try:
            answer = await self._call(f"/{_HEALTH}/Check")
            status = _parse(answer, identity_pb2.HealthResponse).status
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}:
                return
            raise self._failure(
                Reason.NOT_SERVING, f"answers {_HEALTH}/Check with {_status(error)}."
            ) from error
        except DecodeError as error:
            raise self._failure(
                Reason.NOT_SERVING, f"answers {_HEALTH}/Check with an unreadable message."
            ) from error
        if status != _SERVING:
            raise self._failure(
                Reason.NOT_SERVING,
                f"reports {_HEALTH_STATUS.get(status, status)} at {_HEALTH}/Check. See the "
                "plugin's log.",
            )

    async def _ask(self, method: str, response: type[_Response]) -> _Response:
        """Call the identity service, which every plugin has."""
        try:
            return _parse(await self._call(f"/{_IDENTITY}/{method}"), response)
        except DecodeError as error:
            raise self._failure(
                Reason.NOT_A_PLUGIN, f"answers {_IDENTITY}/{method} with an unreadable message."
            ) from error
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise self._failure(
                    Reason.NOT_A_PLUGIN,
                    f"does not implement {_IDENTITY}/{method}: it is not a CNPG-I plugin. Correct "
                    "the image or its arguments.",
                ) from error
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _is_too_long(error):
                raise self._failure(
                    Reason.NOT_A_PLUGIN,
                    f"answers {_IDENTITY}/{method} with more than {MOST_RECEIVED // 1024} KiB, "
                    "which no CNPG-I plugin needs. Correct the plugin.",
                ) from error
            if error.code() is grpc.StatusCode.UNAVAILABLE and self._progress.identity is None:
                raise self._line.unusable(_status(error)) from error
            raise self._failure(
                Reason.NOT_SERVING,
                f"answers {_IDENTITY}/{method} with {_status(error)}. See the plugin's log.",
            ) from error

    async def _call(self, method: str) -> bytes:
        """Make one call with an empty message; all requests of a handshake are empty."""
        self._progress.waiting(
            Reason.NO_ANSWER, f"{self._line.where} did not answer {method.removeprefix('/')}"
        )
        try:
            answer: bytes = await self._line.channel.unary_unary(method)(
                b"", timeout=self._progress.remaining(), wait_for_ready=False
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._progress.out_of_time() from error
            raise
        return answer

    def _failure(self, reason: Reason, what: str) -> HandshakeError:
        return HandshakeError(reason, f"{self._line.where} {what}", self._progress.identity)

    def _learn(self, identity: Identity) -> None:
        self.identity = self._progress.identity = identity


def _parse(answer: bytes, response: type[_Response]) -> _Response:
    """Decode an answer."""
    message = response()
    message.ParseFromString(answer)
    return message


def _is_too_long(error: grpc.aio.AioRpcError) -> bool:
    """Whether gRPC itself refused an answer by its length; a server may use the code as well."""
    return "larger than max" in (error.details() or "")


def _status(error: grpc.aio.AioRpcError) -> str:
    """Format gRPC's code and the server's message."""
    details = _clip(error.details() or "")
    return f"{error.code().name} ({details})" if details else str(error.code().name)


def _clip(text: str) -> str:
    """Reduce a plugin's text to one line of a length that fits a status."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT]).split())
    return line if len(text) <= _MAX_TEXT else f"{line}…"
