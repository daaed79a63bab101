"""Our verdict on a connection compared with that of Go's own TLS, on the same servers.

CloudNativePG and nearly every plugin are Go programs, so the verdict of our handshake has to agree
with theirs. No cluster is needed.
"""

import re
from collections.abc import Iterator

import pytest

from tests.support.tls.cases import Row, assert_message, shake, verdict
from tests.support.tls.cases_go import ACCEPTED_IN_GO, DIFFERENCES, REFUSED_IN_GO
from tests.support.tls.cases_peers import MATRIX
from tests.support.tls.go_verdict import GoProgram, GoVerdict, go_program


@pytest.fixture(scope="module")
def go() -> Iterator[GoProgram]:
    """Go with CloudNativePG's settings, for all rows."""
    with go_program() as program:
        yield program


def rows(table: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", table, ids=[row.sentence for row in table])


def assert_gos_verdict(row: Row, theirs: GoVerdict) -> None:
    """Require that Go accepts, or refuses for the same cause, in its own words."""
    assert theirs.ok is (not row.go), theirs
    assert re.search(row.go, theirs.error), theirs.error


@rows(MATRIX)
async def test_our_verdict_equals_gos_on(row: Row, go: GoProgram) -> None:
    async with row.server() as server:
        ours = await shake(row, server.port)
        theirs = await go.judge(row, server.port)
    assert ours.succeeded is theirs.ok, f"we: {ours.message} Go: {theirs.error}"
    assert_gos_verdict(row, theirs)
    assert_message(row, ours, MATRIX)


@rows(REFUSED_IN_GO)
async def test_our_verdict_equals_that_of_a_go_plugin_that_refuses(row: Row, go: GoProgram) -> None:
    async with row.server() as server:
        ours = await shake(row, server.port)
        theirs = await go.judge(row, server.port)
    assert ours.succeeded is theirs.ok, f"we: {ours.message} Go: {theirs.error}"
    assert_gos_verdict(row, theirs)
    assert_message(row, ours, REFUSED_IN_GO)


@rows(ACCEPTED_IN_GO)
async def test_a_go_plugin_accepts_our_tls_with(row: Row, go: GoProgram) -> None:
    async with row.server() as server:
        ours = await verdict(row, server.port)
        theirs = await go.judge(row, server.port)
    assert_gos_verdict(row, theirs)
    assert_message(row, ours)


@rows(DIFFERENCES)
async def test_we_are_stricter_than_go_and_give_the_reason_for(row: Row, go: GoProgram) -> None:
    async with row.server() as server:
        ours = await shake(row, server.port)
        theirs = await go.judge(row, server.port)
    assert_gos_verdict(row, theirs)
    assert not ours.succeeded
    assert_message(row, ours)
