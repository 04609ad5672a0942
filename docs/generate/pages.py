"""A generated page, and the little Markdown that its makers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """Markdown at `uri`, shown as `title` in section `group` of the navigation."""

    uri: str
    title: str
    text: str
    group: str = ""

    def entry(self) -> str | dict[str, str]:
        """Return the page as an entry of the navigation."""
        return {self.title: self.uri} if self.title else self.uri


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; `|` is escaped outside code, inside it stands as it is."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    parts = re.split(r"(`[^`]*`)", re.sub(r"\s*\n\s*", " ", text))
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)


def plain(text: str) -> str:
    """Escape what Markdown would read as HTML or emphasis, outside code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*_<\[])", r"\\\1", part) for part in parts
    )
