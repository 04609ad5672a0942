"""Imports of planish in places that no other test runs, and in scripts that tests write out."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("benchmarks", "examples", "tests", "docs")
# In text, since scripts stand in strings, and snippets in pages.
IMPORT = re.compile(
    r"^\s*(?:>>> )?from (planish(?:\.\w+)*) import (\([^)]*\)|[^\n(\\]+)", re.MULTILINE
)


def _imports() -> dict[tuple[str, str], str]:
    """Return every (module, name) that is imported, with a file that does."""
    found: dict[tuple[str, str], str] = {}
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*")):
            if path.suffix not in (".py", ".md") or path == Path(__file__):
                continue
            for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
                for alias in ast.parse(f"from x import {names.partition('#')[0]}").body[0].names:
                    found.setdefault((module, alias.name), str(path.relative_to(ROOT)))
    return found


def test_what_is_imported_is_there():
    missing = []
    for (module, name), where in _imports().items():
        try:
            held = importlib.import_module(module)
            if name != "*" and not hasattr(held, name):
                importlib.import_module(f"{module}.{name}")
        except ImportError:
            missing.append(f"{where}: from {module} import {name}")
    assert not missing


@pytest.mark.parametrize("text", ["from planish.no_such import x", "from planish import nothing"])
def test_what_is_missing_would_be_found(text):
    ((module, name),) = IMPORT.findall(text)
    with pytest.raises(ImportError):
        getattr(importlib.import_module(module), name, None) or importlib.import_module(
            f"{module}.{name}"
        )
