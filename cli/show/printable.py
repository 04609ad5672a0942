"""Names in what a terminal shows: they stay in their lines, and tell the terminal nothing."""

from __future__ import annotations

import re

from ...ir.core.shown import one_line

_OWN_LINES = re.compile(r"\n(?=  )")


def as_message(text: str) -> str:
    """Return a message whose names stay in their lines.

    Lines of its own are indented by two, as carets below a pipeline are; other ends of lines are
    those of names.
    """
    return "\n".join(map(one_line, _OWN_LINES.split(text)))


def harmless(text: str) -> str:
    """Return `text`, of any lines, with what a terminal would obey written out."""
    return "\n".join(map(one_line, text.split("\n")))
