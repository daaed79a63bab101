"""Text and JSON from others becomes bounded, printable, and of a known shape."""

import json
import unicodedata
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.conditions import Reason, find_condition, no
from cnpg_plugin_operator.api.status import Report, build_status, read_status
from cnpg_plugin_operator.api.untrusted import TEXT_LIMIT, is_within, printable, read_json
from tests.support.unit.builders import NOW

CASES = [
    ("as it is, ünïcödé included", "as it is, ünïcödé included"),
    ("two\nlines\r\n\tand a tab", "two lines   and a tab"),
    ("\x1b[31mred", "\ufffd[31mred"),
    ("left\u202eright", "left\ufffdright"),
    ("\u2028line\u2029paragraph", " line paragraph"),
    ("\ud800lone", "\ufffdlone"),
    ("\x00", "\ufffd"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_characters_without_a_glyph_are_replaced(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_a_long_text_is_cut_between_characters() -> None:
    shown = printable("ä" * 2_000)

    assert shown.endswith("ä…")
    assert TEXT_LIMIT - 2 <= len(shown.encode()) <= TEXT_LIMIT


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cf", "Cc", "Lo"])))
def test_every_text_becomes_printable_and_short(text: str) -> None:
    for shown in (printable(text * 40), no(Reason.CLUSTER_ERROR, text).message):
        assert shown.isprintable()
        assert len(shown.encode()) <= TEXT_LIMIT
        assert all(unicodedata.category(c)[0] != "C" for c in shown)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"a": [{"b": 1}]}, True),
        ([[[[1]]]], True),
        ([[[[[1]]]]], False),
        ({"a": {"a": {"a": {"a": {}}}}}, True),
        ({"a": {"a": {"a": {"a": {"a": 1}}}}}, False),
        ("x" * 90, True),
        ("x" * 101, False),
        ({"k" * 101: 1}, False),
        (MappingProxyType({"a": ["x" * 101]}), False),
        (list(range(30)), False),
    ],
)
def test_depth_and_size_are_measured(value: Any, fits: bool) -> None:  # noqa: FBT001
    assert is_within(value, depth=4, size=100) is fits


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "7", "[" * 100_000, None, 7, "1" * 5_000])
def test_a_text_without_an_object_is_read_as_an_empty_one(text: object) -> None:
    assert read_json(text) == {}


@pytest.mark.parametrize("status", [None, 7, "x", [], {"conditions": 7}, {"cnpg": []}, {"a": {}}])
def test_a_malformed_status_is_read_as_an_empty_one(status: Any) -> None:
    found = read_status({"status": status})

    assert find_condition(found, "Ready") == {}
    assert not any(found.values())


def test_the_largest_status_can_be_written() -> None:
    huge: Any = "\x1b" + "ä" * 100_000
    condition = {"type": "Accepted", "status": "True", "reason": huge, "message": huge}
    many = {f"{n}{huge}": huge for n in range(5_000)}
    previous = {
        "conditions": [condition] * 5_000,
        "plugin": {**dict.fromkeys(("name", "version", "url"), huge), "capabilities": [huge] * 999},
        "cnpg": {"lastRestart": {"time": "2026-03-01T11:00:00Z", "revisions": many}},
        "clusters": {"blocked": [huge] * 5_000},
        "unknown": huge,
    }
    status = build_status(read_status({"status": previous}), Report({}), generation=1, now=NOW)

    assert len(json.dumps(status, ensure_ascii=False).encode()) < 128 * 1024
    assert len(status["plugin"]["capabilities"]) == 32
