"""Public names without docstring, or without a place in the reference."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import planish

REFERENCE = Path(__file__).resolve().parent.parent / "reference" / "python.md"


def problems() -> list[str]:
    """Return a line for each public name, or public method, that is not documented."""
    return [*_undocumented(), *_unplaced(REFERENCE.read_text(encoding="utf-8"))]


def _undocumented() -> list[str]:
    names = {f"planish.{name}": getattr(planish, name) for name in planish.__all__}
    for name, item in list(names.items()):
        if inspect.isclass(item):
            names.update(_methods(name, item))
    return [f"public name without docstring: {name}" for name, o in names.items() if not _own(o)]


def _methods(owner: str, item: type) -> dict[str, Any]:
    """Return the public methods and properties that `item`, or a base in planish, defines."""
    own = [base for base in item.__mro__ if base.__module__.startswith("planish")]
    return {
        f"{owner}.{name}": value
        for base in reversed(own)
        for name, value in vars(base).items()
        if not name.startswith("_") and _is_method(value)
    }


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod)


def _own(item: Any) -> str:
    """Return the docstring of `item`; what a dataclass gets from Python is none."""
    if not inspect.isclass(item):
        return inspect.getdoc(item) or ""
    text = vars(item).get("__doc__") or ""
    return "" if text.startswith(f"{item.__name__}(") else text


def _unplaced(reference: str) -> list[str]:
    shown = set(re.findall(r"^::: planish\.(\w+)", reference, flags=re.MULTILINE))
    return [
        f"public name not in docs/reference/python.md: planish.{name}"
        for name in planish.__all__
        if name not in shown
    ]
