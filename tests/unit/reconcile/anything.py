"""JSON that no author would write, and the places for it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from cnpg_plugin_operator.cluster.client import RECURSION_LIMIT


@dataclass(frozen=True)
class Monster:
    """A value that is too big to be printed with a failing example."""

    kind: str
    size: int

    def build(self) -> Any:
        if self.kind == "text":
            return "y" * self.size
        if self.kind == "wide list":
            return ["x"] * self.size
        if self.kind == "wide object":
            return {str(n): n for n in range(self.size)}
        value: Any = "deep"
        for _ in range(self.size):
            value = [value] if self.kind == "deep list" else {"a": value}
        return value


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "\x1b[31mred\x1b[0m\r\nsecond line\x00",
            "\u202egnp.\u2066exe\u2069\u2028\u2029",
            "\ud800 alone",
            "ä" * 600,
            "1" * 4_400,
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",
            "2026-03-01T11:00:00Z",
            "True",
            "Deleting",
            "[" * 900 + "x" * 4_000,
            '{"hello": {"a": [1e999]}}',
            "../../secrets",
        ]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False),
    TEXTS,
)
KEYS = st.sampled_from(
    [
        *("name", "type", "status", "reason", "message", "time", "pluginName", "image", "spec"),
        *(
            "metadata",
            "containers",
            "conditions",
            "quarantine",
            "lastRestart",
            "revisions",
            "env",
            "",
        ),
    ]
)
MONSTERS = st.sampled_from(
    [
        *(
            Monster(kind, size)
            for kind in ("deep list", "deep object")
            for size in (33, 999, 2_000)
        ),
        *(Monster("text", 1_000_000), Monster("wide list", 50_000), Monster("wide object", 20_000)),
    ]
)
JSON = st.one_of(
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(KEYS | TEXTS, inner, max_size=3)
        ),
        max_leaves=8,
    ),
    MONSTERS,
)


@contextmanager
def as_deep_as_the_operator() -> Iterator[None]:
    """Recurse as deep as the process may; hypothesis sets a limit of its own around each test."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def replace(body: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Set a value at a path, as far as the path exists."""
    here: Any = body
    for part in path[:-1]:
        there = here.get(part) if isinstance(here, dict) else here[part] if here else None
        if not isinstance(there, dict | list):
            there = here[part] = {}
        here = there
    here[path[-1]] = value.build() if isinstance(value, Monster) else value


def as_text(value: Any) -> str:
    """Write a value as the text of an annotation."""
    with as_deep_as_the_operator():
        value = value.build() if isinstance(value, Monster) else value
        return value if isinstance(value, str) else json.dumps(value)
