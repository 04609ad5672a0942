"""Docstrings of passes, taken apart.

A module opens with a title, the law that its pass rests on, and paragraphs of text; a class with a
summary, paragraphs, and a list of options:

    Title of the module, in one sentence.

        f(g(x)) = h(x)

    More text.

    Summary of the class, in one sentence.

    More text.

    - `an-option`: what it means.
"""

from __future__ import annotations

import inspect
import re

_LAW = re.compile(r"<=>|->|:=|[=~]|\bmin over\b")
_ITEM = re.compile(r"- ((?:`[\w-]+`(?:, )?)+): ")


def law_of(module: str) -> str:
    """Return the law that the docstring of a module opens with, or nothing."""
    paragraphs = _paragraphs(module)
    if len(paragraphs) < 2 or not _LAW.search(paragraphs[1]):
        return ""
    return inspect.cleandoc("\n" + paragraphs[1])


def rest_of(module: str) -> str:
    """Return the text of a module's docstring behind its title and law."""
    return "\n\n".join(_paragraphs(module)[2:])


def body_of(kind: type) -> str:
    """Return the paragraphs of a class's own docstring without its summary and its options."""
    first, _, more = (kind.__dict__.get("__doc__") or "").partition("\n\n")
    rest = "\n".join(first.split(". ", 1)[1:])  # a summary that goes on is text already
    texts = [rest, *(p for p in _paragraphs(more) if not _ITEM.match(p))]
    return "\n\n".join(text.strip() for text in texts if text.strip())


def options_in(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each option, by its name with underscores."""
    found: dict[str, str] = {}
    for paragraph in _paragraphs(kind.__dict__.get("__doc__") or ""):
        if _ITEM.match(paragraph):
            for item in re.split(r"\n(?=- `)", paragraph):
                found |= _read_item(item)
    return found


def _read_item(item: str) -> dict[str, str]:
    match = _ITEM.match(item)
    if match is None:
        return {}
    text = " ".join(item[match.end() :].split())
    return {name.replace("-", "_"): text for name in re.findall(r"[\w-]+", match[1])}


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", inspect.cleandoc(text)) if part.strip()]
