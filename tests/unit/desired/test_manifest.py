"""What is written as YAML reads as what it was."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.desired.manifest import write_manifest

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=40)
KEYS = st.text(max_size=40)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)
AMBIGUOUS = ["yes", "No", "null", "~", "1", "1.0", "-", "a: b", "a #b", "*a", "&a", "1e3", "0x1"]


@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=4))
def test_any_json_survives(body: dict[str, Any]) -> None:
    assert yaml.safe_load(write_manifest(body)) == body


@pytest.mark.parametrize("text", [*AMBIGUOUS, "", " ", "12:30", "a,b", "[a]", "@", "2026-01-01"])
def test_a_text_stays_a_text(text: str) -> None:
    assert yaml.safe_load(write_manifest({text: [text], "b": text})) == {text: [text], "b": text}


def test_remarks_are_comments_of_one_line() -> None:
    written = write_manifest({"a": {"b": [{"c": 1, "d": ["x"]}]}}, ["one\ntwo: three"])
    assert written == "# one two: three\na:\n  b:\n    - c: 1\n      d: [x]\n"
