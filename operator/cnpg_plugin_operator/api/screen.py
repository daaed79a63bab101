"""Fits lines for people to the width of a screen.

Messages are one line each in a condition. Commands in them stay in one piece, so that they can be
copied. Documents for programs must not pass here.
"""

import re
import textwrap
from collections.abc import Iterable
from typing import Final

from cnpg_plugin_operator.api.untrusted import printable

WIDTH: Final = 100
"""Columns; a pod does not know the width of the terminal behind `kubectl exec`."""

_COMMAND: Final = re.compile(r"kubectl [^();]*?(?=[();]|\.? *$|\. )")

_GLUE: Final = "\N{NO-BREAK SPACE}"
"""What `textwrap` does not break at."""


def fold(line: str, hanging: int = 4) -> str:
    """Break a line between words; the lines after the first are indented by `hanging` columns."""
    if len(line) <= WIDTH:
        return line
    glued = _COMMAND.sub(lambda command: command[0].replace(" ", _GLUE), line)
    begin = len(line) - len(line.lstrip(" "))
    folded = textwrap.wrap(
        glued[begin:],
        WIDTH,
        initial_indent=" " * begin,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(folded).replace(_GLUE, " ")


def show(lines: Iterable[str], hanging: int = 4) -> str:
    """Write lines that may contain anything, each printable and folded."""
    return "\n".join(fold(printable(line), hanging) for line in lines)
