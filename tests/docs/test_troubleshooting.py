"""The messages that the page of symptoms quotes are messages that planish has."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.snippets import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
# What stands before `:   `, the mark of a definition, is a symptom; in code, a message.
SYMPTOMS = re.findall(r"^(\S.*)\n(?=:   )", PAGE, re.MULTILINE)
MESSAGES = [text for line in SYMPTOMS for text in re.findall(r"`([^`]*)`", line) if " " in text]
_LEAST = 9


def _fragments(message):
    """Return the words between what a message fills in: names in quotes, numbers, `...`."""
    words = re.split(r"\.\.\.|'[^']*'|\b\d[\d.]*\b|, |; ", message)
    return [part.strip() for part in words if len(part.strip()) >= _LEAST]


@pytest.fixture(scope="module")
def literals():
    """Every text in the files that have a fragment, a gap for what is filled in."""
    asked = {part for message in MESSAGES for part in _fragments(message)}
    sources = [
        path.read_text(encoding="utf-8")
        for floor in ("ir", "passes", "backends", "tools", "cli")
        for path in sorted((ROOT / floor).rglob("*.py"))
    ]
    joined = map(_joined, sources)
    found = [s for s, text in zip(sources, joined, strict=True) if any(p in text for p in asked)]
    return "\n".join(text for source in found for text in _texts(source))


def _joined(source):
    """Return `source` with literals that follow each other as one, for a quick look."""
    return re.sub(r'"\s*\n\s*f?"', "", source)


def _texts(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_part(value) for value in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _part(value):
    return str(value.value) if isinstance(value, ast.Constant) else "{}"


def test_messages_are_found():
    assert len(MESSAGES) > 40


@pytest.mark.parametrize("message", MESSAGES)
def test_message_exists(message, literals):
    fragments = _fragments(message)
    assert fragments, f"'{message}' says too little to be searched for"
    for fragment in fragments:
        assert fragment in literals, fragment
