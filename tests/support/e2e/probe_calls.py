"""The program of the probe (`tests.support.e2e.probe`): calls plugins the way CloudNativePG does.

Runs as a process of its own inside the cluster's network, so that nothing the tests do can delay a
call. Every call reads the Service and its two Secrets anew and opens a fresh connection: the
strictest reader of what is announced, with no cache and no kept connection that could hide an
outage. A call is started when its time has come, whether earlier ones have ended or not.
"""

import argparse
import asyncio
import base64
import contextlib
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
"""What CloudNativePG gives a call (internal/cnpi/plugin/connection). A machine that is busy answers
late and is no outage; trust that is lacking fails at once."""

NOT_ANNOUNCED: Final = "NotAnnounced"
"""CloudNativePG would drop the plugin: Service, label, annotation or Secret is missing."""

NOT_READ: Final = "NotRead"
"""The API server did not answer. Counted as a failure too: no gap may hide in it."""

_PRIORITY: Final = -10
"""Above whatever else keeps the machine busy: a probe that gets no time to call sees outages of its
own. Measured beside six busy loops on two cores: without it all calls took longer than 30 s."""

_MOST_UNDER_WAY: Final = 5
"""Calls of one plugin at a time: so many connections to it CloudNativePG keeps at most
(internal/cnpi/plugin/repository, 1.24.0 to 1.30.0). An outage is as long as no call succeeds."""

_TORN: Final = "internal error"
"""The TLS alert of a Go server that finds no pair. cnpg-i-machinery 0.4.2 reads certificate and key
one after the other (`getConfigForClient`): a kubelet that exchanges both in between leaves it with
two that do not match, for that one call and whoever has renewed them. It is made once more."""

_API: Final = "https://127.0.0.1:6443/api/v1"

# CloudNativePG's words (pkg/utils/labels_annotations.go), spelled again: a witness of its own.
_NAME: Final = "cnpg.io/pluginName"
_PORT: Final = "cnpg.io/pluginPort"
_SERVER_SECRET: Final = "cnpg.io/pluginServerSecret"
_CLIENT_SECRET: Final = "cnpg.io/pluginClientSecret"
_SERVER_NAME: Final = "cnpg.io/pluginServerName"


class NotAnnouncedError(Exception):
    """What CloudNativePG needs is not there."""


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
    """Digest of whom CloudNativePG trusted."""
    client: str
    """Digest of what CloudNativePG presented."""
    overtaken: list[str]
    """What went wrong whenever it was made anew, because what is announced or mounted changed while
    it was under way: CloudNativePG would have read that at once, a probe on a busy machine is late.
    """


class Caller:
    """Calls the plugins of one namespace and writes down how it went."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, output: TextIO) -> None:
        self._session = session
        self._namespace = namespace
        self._output = output

    async def call(self, service: str) -> None:
        """Make one call."""
        began = time.monotonic()
        trust = client = b""
        overtaken: list[str] = []
        try:
            said = await self._announced(service)
            while True:
                endpoint, material = said
                trust, client = material.trust, material.certificate
                outcome = await Handshaker().shake(endpoint, material, CALL_SECONDS)
                if outcome.succeeded:
                    break
                torn = is_torn(outcome.message) and not any(map(is_torn, overtaken))
                former, said = said, await self._announced(service)
                if said == former and not torn:
                    break
                overtaken.append(f"{outcome.reason}: {outcome.message}")
            ok, reason, message = outcome.succeeded, str(outcome.reason), outcome.message
        except NotAnnouncedError as error:
            ok, reason, message = False, NOT_ANNOUNCED, str(error)
        except (aiohttp.ClientError, OSError) as error:
            ok, reason, message = False, NOT_READ, repr(error)
        took = round((time.monotonic() - began) * 1000, 1)
        said_so = "" if ok else message
        found = Call(
            began, service, ok, reason, said_so, took, digest(trust), digest(client), overtaken
        )
        self._output.write(json.dumps(asdict(found)) + "\n")
        self._output.flush()

    async def _announced(self, name: str) -> tuple[Endpoint, Material]:
        service = await self._read("services", name)
        metadata = service["metadata"]
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
            return await self._announced(name)  # It names other Secrets by now.
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


def is_torn(message: str) -> bool:
    """Whether a server found a certificate and a key that do not belong together."""
    return _TORN in message.replace("_", " ").lower()


def digest(pem: bytes) -> str:
    """Tell one file from another."""
    return hashlib.sha256(pem).hexdigest()[:12]


async def call_by_the_clock(caller: Caller, services: list[str], interval: float) -> None:
    """Call each plugin once in every interval, until SIGTERM; then let the last calls end.

    What was missed is not made up for: a burst of calls would keep a busy machine busy.
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
    # A call that raises what it should not ends the probe, and so the test: never unseen.
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
    """Read the command line and call until told to stop."""
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
