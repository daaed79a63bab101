"""Times the handshake's rows: `python -m tests.bench.tls RUNS`, in the tests' own environment.

All connections use loopback. Our verdict is timed in this process, which also runs most of the
servers; Go's verdict is timed in its own process, without the pipe in between. Both use the same
server, alternating, after a first run that does not count.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cnpg_plugin_operator.decide.facts.plugin import HandshakeOutcome
from tests.support.tls.cases import PATIENCE, Row, shake, verdict
from tests.support.tls.cases_go import ACCEPTED_IN_GO, REFUSED_IN_GO
from tests.support.tls.cases_peers import MATRIX
from tests.support.tls.go_verdict import GoProgram, go_program

Act = Callable[[Row, int], Awaitable[HandshakeOutcome]]


async def _time(row: Row, act: Act, port: int) -> float:
    """Measure the milliseconds; the outcome must be the one that the row expects."""
    begun = time.perf_counter()
    outcome = await act(row, port)
    taken = (time.perf_counter() - begun) * 1000
    if outcome.succeeded is not (not row.go):
        raise RuntimeError(f"{row.sentence}: {outcome.message}")
    return taken


async def _measure(row: Row, runs: int, go: GoProgram, *, whole: bool) -> dict[str, object]:
    """Time one row; with `whole`, also the handshake that continues after TLS, with a plugin."""
    ours: list[float] = []
    gos: list[float] = []
    handshakes: list[float] = []
    async with row.server() as server:
        for _ in range(runs + 1):
            ours.append(await _time(row, verdict, server.port))
            gos.append((await go.judge(row, server.port)).nanos / 1e6)
            if whole:
                handshakes.append(await _time(row, shake, server.port))
    return {"row": row.sentence, "ours": ours[1:], "go": gos[1:], "whole": handshakes[1:]}


async def _main(runs: int) -> None:
    # If a peer is silent on purpose, the row takes as long as its timeout.
    answered = [row for row in MATRIX if row.timeout == PATIENCE]
    in_go = [
        replace(row, sentence=f"in Go: {row.sentence}") for row in (*ACCEPTED_IN_GO, *REFUSED_IN_GO)
    ]
    with go_program() as go:
        for row in (*answered, *in_go):
            whole = not row.go and row in answered
            print(json.dumps(await _measure(row, runs, go, whole=whole)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
