"""A log line is one line, whatever text it contains."""

import json
import logging

import pytest

from cnpg_plugin_operator.api.untrusted import TEXT_LIMIT
from cnpg_plugin_operator.telemetry import JSONFormatter, TextFormatter

EVIL = "\x1b[31mred\r\nsecond\u2028third" + "x" * 50_000


def record(message: str, *, failing: bool = False, **extra: object) -> logging.LogRecord:
    error = (ValueError, ValueError(EVIL), None) if failing else None
    made = logging.makeLogRecord({"msg": message, "exc_info": error, **extra})
    made.levelname = "INFO"
    return made


@pytest.mark.parametrize("failing", [False, True])
def test_a_text_line_is_printable(failing: bool) -> None:  # noqa: FBT001
    lines = TextFormatter().format(record(EVIL, failing=failing, plugin=EVIL)).split("\n")

    assert all(line.isprintable() for line in lines)
    assert len(lines) == 1 or failing
    assert all(len(line.encode()) <= 3 * TEXT_LIMIT for line in lines)


def test_a_json_line_contains_printable_texts() -> None:
    found = json.loads(JSONFormatter().format(record(EVIL, failing=True, plugin=EVIL, wait=0.5)))

    assert found["msg"].isprintable()
    assert found["plugin"].isprintable()
    assert len(found["msg"].encode()) <= TEXT_LIMIT
    assert all(line.isprintable() for line in found["error"].split("\n"))
    assert found["wait"] == 0.5
