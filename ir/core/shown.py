"""Objects that say in one line what they are, and show a small table in a notebook."""

from __future__ import annotations

import html
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_ROWS = 20


@dataclass(frozen=True)
class Summary:
    """A line about an object, and a table of its most important parts: rows of text."""

    line: str
    rows: Sequence[Sequence[str]] = ()
    headers: Sequence[str] = ()


def shortened(text: str, most: int = 80) -> str:
    """Return the begin of a text that is longer than `most`, with three points behind it."""
    return text if len(text) <= most else f"{text[:most]}..."


def in_short(name: str, most: int = 160) -> str:
    """Return a name that is longer than `most` without its middle: both ends tell it apart."""
    if len(name) <= most:
        return name
    half = most // 2
    return f"{name[:half]}...{name[-half:]}"


def one_line(text: str) -> str:
    """Return `text` with what is not printed, such as the end of a line in a name, as `\\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Shown:
    """Has `repr` and notebooks show its summary instead of all that it holds."""

    @abstractmethod
    def _summary(self) -> Summary:
        """Return what to show."""

    def __repr__(self) -> str:
        """Return the class and the line."""
        return f"<{type(self).__name__} {self._summary().line}>"

    def _repr_html_(self) -> str:
        """Return the line and at most twenty rows of the table."""
        found = self._summary()
        rows = [_row(row, "td") for row in found.rows[:_MOST_ROWS]]
        more = len(found.rows) - _MOST_ROWS
        rest = [f"<p>and {more} more</p>"] if more > 0 else []
        head = [_row(found.headers, "th")] if found.headers else []
        line = f"<p><b>{type(self).__name__}</b> {_escaped(found.line)}</p>"
        return "".join([line, "<table>", *head, *rows, "</table>", *rest])


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_escaped(cell)}</{tag}>' for cell in cells)}</tr>"


def _escaped(text: str) -> str:
    return html.escape(one_line(text))
