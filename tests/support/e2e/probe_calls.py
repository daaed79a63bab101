"""The program of the probe (`tests.support.e2e.probe`): calls plugins the way CloudNativePG does.

Runs as a separate process inside the cluster's network, so that the tests cannot delay a call.
Every call reads the Service and its two Secrets again and opens a new connection: the strictest
reader of an announcement, without a cache or a kept connection that could hide an outage. A call
starts at its scheduled time, whether earlier ones have ended or not.
"""

import argparse
import asyncio
import base64
import contextlib
import errno
import hashlib
import http
import json
import os
import signal
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import aiohttp

from cnpg_plugin_operator.decide.facts.plugin import Endpoint, Material
from cnpg_plugin_operator.handshake.handshaker import Handshaker

CALL_SECONDS: Final = 30.0
"""CloudNativePG's timeout for a call (internal/cnpi/plugin/connection). A late answer of a busy
machine is no outage; missing trust fails at once."""

NOT_ANNOUNCED: Final = "NotAnnounced"
"""CloudNativePG would drop the plugin: Service, label, annotation or Secret is missing."""

NOT_READ: Final = "NotRead"
"""The API server did not answer. Also counted as a failure, so that it hides no outage."""

_PRIORITY: Final = -10
"""Higher than that of other processes, because a probe without CPU time reports false outages.
Measured beside six busy loops on two cores: without it all calls took longer than 30 s."""

_MOST_UNDER_WAY: Final = 5
"""Maximum concurrent calls of one plugin: CloudNativePG keeps at most this many connections
(internal/cnpi/plugin/repository, 1.24.0 to 1.30.0). An outage is as long as no call succeeds."""

PLUGIN: Final = "plugin/"
"""Before the name of a plugin, where its Service may change."""

_TORN: Final = "internal error"
"""The TLS alert of a Go server that finds no pair. cnpg-i-machinery 0.4.2 reads certificate and key
one after the other (`getConfigForClient`): if the kubelet replaces both in between, they do not
match, whoever renewed them. The call is made once more."""

_NO_ROUTE: Final = os.strerror(errno.EHOSTUNREACH)
"""The node has sent the connection to an address where no pod is."""

_API: Final = "https://127.0.0.1:6443/api/v1"

# CloudNativePG's names (pkg/utils/labels_annotations.go), repeated here to stay independent of the
# operator.
_NAME: Final = "cnpg.io/pluginName"
_PORT: Final = "cnpg.io/pluginPort"
_SERVER_SECRET: Final = "cnpg.io/pluginServerSecret"
_CLIENT_SECRET: Final = "cnpg.io/pluginClientSecret"
_SERVER_NAME: Final = "cnpg.io/pluginServerName"


class NotAnnouncedError(Exception):
    """Something that CloudNativePG needs is missing."""


@dataclass(frozen=True)
class Call:
    """One call, as a line of the probe's output."""

    t: float
    """When it began: monotonic seconds, which all processes of a machine share."""
    service: str
    ok: bool
    reason: str
    message: str
    ms: float
    trust: str
    """Digest of the certificates that CloudNativePG trusted."""
    client: str
    """Digest of what CloudNativePG presented."""
    overtaken: list[str]
    """The errors of repeated attempts, after a change of the announcement or of mounted files
    during the call: CloudNativePG would have read that at once, a probe on a busy machine is late.
    """
    closed: bool = False
    """Whether the plugin closed the connection without a word, as a process does that ends."""


class Caller:
    """Calls the plugins of one namespace and writes the results."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, output: TextIO) -> None:
        self._session = session
        self._namespace = namespace
        self._output = output

    async def call(self, service: str) -> None:
        """Make one call."""
        began = time.monotonic()
        trust = client = b""
        overtaken: list[str] = []
        closed = False
        try:
            said = await self._announced(service)
            while True:
                endpoint, material = said
                trust, client = material.trust, material.certificate
                outcome = await Handshaker().shake(endpoint, material, CALL_SECONDS)
                if outcome.succeeded:
                    break
                torn = is_torn(outcome.message) and not any(map(is_torn, overtaken))
                previous, said = said, await self._announced(service)
                if said == previous and not torn:
                    break
                overtaken.append(f"{outcome.reason}: {outcome.message}")
            ok, reason, message = outcome.succeeded, str(outcome.reason), outcome.message
            closed = outcome.closed
            if _NO_ROUTE in message:
                message = f"{message} {await describe_route(endpoint.host)}"
        except NotAnnouncedError as error:
            ok, reason, message = False, NOT_ANNOUNCED, str(error)
        except (aiohttp.ClientError, OSError) as error:
            ok, reason, message = False, NOT_READ, repr(error)
        took = round((time.monotonic() - began) * 1000, 1)
        said_so = "" if ok else message
        seen = digest(trust), digest(client)
        found = Call(began, service, ok, reason, said_so, took, *seen, overtaken, closed)
        self._output.write(json.dumps(asdict(found)) + "\n")
        self._output.flush()

    async def _announced(self, called: str) -> tuple[Endpoint, Material]:
        service = await self._find(called)
        metadata = service["metadata"]
        name = metadata["name"]
        said = (metadata.get("annotations") or {}) | (metadata.get("labels") or {})
        for key in (_NAME, _PORT, _SERVER_SECRET, _CLIENT_SECRET):
            if not said.get(key):
                raise NotAnnouncedError(f"Service {name} lacks {key}")
        try:
            server, client = await asyncio.gather(
                self._secret(said[_SERVER_SECRET]), self._secret(said[_CLIENT_SECRET])
            )
        except NotAnnouncedError:
            again = await self._read("services", name)
            if again["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                raise
            return await self._announced(called)  # It names other Secrets now.
        endpoint = Endpoint(
            host=service["spec"]["clusterIP"],
            port=int(said[_PORT]),
            server_name=said.get(_SERVER_NAME) or name,
            plugin_name=said[_NAME],
        )
        return endpoint, Material(
            trust=server.get("tls.crt", b""),
            certificate=client.get("tls.crt", b""),
            key=client.get("tls.key", b""),
        )

    async def _find(self, called: str) -> dict[str, Any]:
        """Read a Service, or find that of a plugin: the one of several that changed last."""
        plugin = called.removeprefix(PLUGIN)
        if plugin == called:
            return await self._read("services", called)
        path = f"{_API}/namespaces/{self._namespace}/services?labelSelector={_NAME}={plugin}"
        async with self._session.get(path) as answer:
            answer.raise_for_status()
            found: list[dict[str, Any]] = (await answer.json())["items"]
        if not found:
            raise NotAnnouncedError(f"no Service announces {plugin}")
        return max(found, key=lambda body: int(body["metadata"]["resourceVersion"]))

    async def _secret(self, name: str) -> dict[str, bytes]:
        data = (await self._read("secrets", name)).get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    async def _read(self, plural: str, name: str) -> dict[str, Any]:
        path = f"{_API}/namespaces/{self._namespace}/{plural}/{name}"
        async with self._session.get(path) as answer:
            if answer.status == http.HTTPStatus.NOT_FOUND:
                raise NotAnnouncedError(f"there is no {name} among the {plural}")
            answer.raise_for_status()
            body: dict[str, Any] = await answer.json()
            return body


async def describe_route(address: str) -> str:
    """Describe where the node has sent unanswered connections to a Service.

    Whether that is the address of a pod that is gone tells a mistake in the EndpointSlices from one
    in kube-proxy's rules.
    """
    argv = ("conntrack", "-L", "-p", "tcp", "--state", "SYN_SENT", "--orig-dst", address)
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    # Each line names the source and the destination of both directions: a reply comes from the pod.
    targets = sorted({line.split(" src=")[-1].split()[0] for line in output.decode().splitlines()})
    return f"The node has sent unanswered connections to: {', '.join(targets) or 'no address'}."


def is_torn(message: str) -> bool:
    """Whether a server has read a certificate and a key that do not match."""
    return _TORN in message.replace("_", " ").lower()


def digest(pem: bytes) -> str:
    """Identify the content of a file."""
    return hashlib.sha256(pem).hexdigest()[:12]


async def call_by_the_clock(caller: Caller, services: list[str], interval: float) -> None:
    """Call each plugin once in every interval, until SIGTERM; then let the last calls end.

    Missed calls are not repeated: a burst of calls would keep a busy machine busy.
    """
    stopping = asyncio.Event()
    under_way = dict.fromkeys(services, 0)

    async def call(service: str) -> None:
        under_way[service] += 1
        try:
            await caller.call(service)
        finally:
            under_way[service] -= 1

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    due = loop.time()
    # An unexpected exception ends the probe, and so fails the test.
    async with asyncio.TaskGroup() as calls:
        while not stopping.is_set():
            for service in services:
                if under_way[service] < _MOST_UNDER_WAY:
                    calls.create_task(call(service))
                due = max(due, loop.time()) + interval / len(services)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await stopping.wait()


async def main() -> None:
    """Read the command line and call until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("services", nargs="+")
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    context = ssl.create_default_context(cafile=str(options.credentials / "ca.crt"))
    context.load_cert_chain(options.credentials / "admin.crt", options.credentials / "admin.key")
    connector = aiohttp.TCPConnector(ssl=context)
    limit = aiohttp.ClientTimeout(total=CALL_SECONDS)
    with options.output.open("a") as output:
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            caller = Caller(session, options.namespace, output)
            await call_by_the_clock(caller, options.services, options.interval)


if __name__ == "__main__":
    asyncio.run(main())
