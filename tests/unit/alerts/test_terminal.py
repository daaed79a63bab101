"""A command's answer as a picture has every line, wrapped, and no markup of its own."""

import re
from xml.etree import ElementTree as ET

from tests.alerts.terminal import PICTURE, draw
from tests.support.screen import COLUMNS


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(picture).iter() if "text" in each.tag]


def test_every_line_is_drawn() -> None:
    assert texts(draw("say", "a < b & c\n\n  d")) == ["$ say", "a < b & c", "", "  d"]


def test_a_long_line_is_wrapped() -> None:
    assert texts(draw("say", "x" * COLUMNS + "y"))[1:] == ["x" * COLUMNS, "y"]


def test_the_picture_of_the_documentation_is_of_diagnose() -> None:
    command, *printed = texts(PICTURE.read_text())
    assert command.startswith("$ kubectl cnpg-plugin diagnose ")
    assert any(re.search(r"HandshakeSucceeded +False IdentityMismatch", line) for line in printed)
