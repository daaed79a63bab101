"""Go's own TLS beside ours: a program with CloudNativePG's settings, and one with a plugin's.

It is built from `tests/plugins/verdict` into the cache of the test cluster, without the cluster.
"""

import asyncio
import contextlib
import json
import select
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cnpg_plugin_operator.handshake  # noqa: F401 - before grpc, which it keeps off stderr
from tests.cluster.builds import Program, build
from tests.support.tls.cases import Row
from tests.support.tls.certificates import Pair
from tests.support.tls.servers import HOST, Running

VERDICT: Final = Program("verdict", Path(__file__).parents[2] / "plugins" / "verdict")

_PATIENCE: Final = 30.0
"""Additional seconds after which the program counts as stuck."""


@dataclass(frozen=True, slots=True)
class GoVerdict:
    """Go's verdict on a connection."""

    ok: bool
    error: str
    """In Go's words, empty where it is accepted."""
    stage: str
    """The last step: `load`, `dial`, `handshake` or `read`."""
    nanos: int
    """Its duration inside the program, in nanoseconds."""


@dataclass(slots=True)
class GoProgram:
    """The program while it runs, in one of its modes: a line of JSON in, a line of JSON out."""

    _process: subprocess.Popen[str] = field(repr=False)

    async def judge(self, row: Row, port: int) -> GoVerdict:
        """Let Go connect as CloudNativePG does; the row's server may live in this event loop."""
        question = {
            "address": f"{HOST}:{port}",
            "serverName": row.name,
            "trust": row.trust.decode(),
            "certificate": row.client.chain.decode(),
            "key": row.client.key.decode(),
            "timeoutMillis": int(row.timeout * 1000),
        }
        return GoVerdict(**await asyncio.to_thread(self.ask, question))

    def ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        """Send one question."""
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        asking.write(json.dumps(question) + "\n")
        asking.flush()
        ready, _, _ = select.select([answering], [], [], _PATIENCE)
        line = answering.readline() if ready else ""
        if not line:
            raise RuntimeError("the program that tells Go's verdict is stuck or has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def go_program(mode: str = "judge") -> Iterator[GoProgram]:
    """Run the program, built if need be; it ends with the block, or with this process."""
    build([VERDICT])
    with subprocess.Popen(
        [VERDICT.binary, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield GoProgram(process)
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def go_server(pair: Pair, clients: bytes) -> AsyncIterator[Running]:
    """Run the TLS of a plugin in Go; it greets accepted clients and sends nothing else.

    The clients are the PEM file that it trusts (`--client-cert`).
    """
    with go_program("serve") as program:
        files = {"certificate": pair.chain, "key": pair.key, "clients": clients}
        question = {name: text.decode() for name, text in files.items()}
        place = await asyncio.to_thread(program.ask, question)
        assert not place["error"], place["error"]
        yield Running(place["port"])
