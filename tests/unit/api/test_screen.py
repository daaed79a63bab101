"""Lines for people fit a screen, and their commands can be copied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnpg_plugin_operator.api.screen import WIDTH, fold

COMMAND = "kubectl rollout restart deployment cnpg-controller-manager -n cnpg-system"


def test_a_line_that_fits_is_unchanged() -> None:
    line = "  two  spaces " + "x" * (WIDTH - 14)
    assert fold(line) == line


def test_a_long_line_is_broken_between_words_and_indented() -> None:
    lines = fold("  " + "word " * 40, hanging=6).splitlines()
    assert [line[:7] for line in lines] == ["  word ", "      w", "      w"]
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.parametrize("after", ["", ".", "). And so on", "; then wait", ". And so on"])
def test_a_command_stays_in_one_piece(after: str) -> None:
    text = (
        f"Deployment cnpg-controller-manager has to be restarted, but not by us: ({COMMAND}{after}"
    )
    assert any(COMMAND in line for line in fold(text).splitlines())
    assert len(fold(text).splitlines()) > 1


@given(st.text(st.sampled_from("ab .-;()kubectl"), max_size=400))
def test_nothing_but_white_space_changes(text: str) -> None:
    assert fold(text).split() == text.split()
