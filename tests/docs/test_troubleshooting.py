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


@pytest.fixture(scope="module")
def literals():
    """Every text in the package's source, one after the other, a gap for what is filled in."""
    paths = [path for floor in ("ir", "passes", "backends", "cli") for path in _files(floor)]
    return "\n".join(text for path in paths for text in _texts(path))


def _files(floor):
    return sorted((ROOT / floor).rglob("*.py"))


def _texts(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
    """Between what a message fills in (names in quotes, numbers, `...`) its words are literal."""
    words = re.split(r"\.\.\.|'[^']*'|\b\d[\d.]*\b|, |; ", message)
    fragments = [part.strip() for part in words if len(part.strip()) >= _LEAST]
    assert fragments, f"'{message}' says too little to be searched for"
    for fragment in fragments:
        assert fragment in literals, fragment
