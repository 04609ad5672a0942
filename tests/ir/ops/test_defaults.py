"""Defaults of attributes that the code names are those of a schema."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

import planish

ROOT = Path(planish.__file__).parent
ROOMS = ("ir/ops", "ir/graph", "passes", "backends")


def _schemas() -> dict[str, set[Any]]:
    """Return, by name, the defaults that attributes of standard operators have at any opset."""
    found: dict[str, set[Any]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        for name, declared in schema.attributes.items() if not schema.domain else ():
            defaults = found.setdefault(name, set())
            if declared.default_value.type == onnx.AttributeProto.UNDEFINED:
                continue
            value = onnx.helper.get_attribute_value(declared.default_value)
            value = value.decode() if isinstance(value, bytes) else value
            defaults.add(tuple(value) if isinstance(value, list) else _short(value))
    return found


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _named(path: Path) -> Iterator[tuple[str, Any, int]]:
    """Yield attribute, default and line of every `attrs.get("name", default)` of a literal."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)) if "attrs.get(" in text else ():
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        held = node.func.value
        owner = held.attr if isinstance(held, ast.Attribute) else getattr(held, "id", "")
        if node.func.attr != "get" or owner != "attrs" or len(node.args) != 2:
            continue
        name, default = node.args
        if isinstance(name, ast.Constant):
            try:
                value = ast.literal_eval(default)
            except ValueError:
                continue  # it is computed
            yield str(name.value), tuple(value) if isinstance(value, list) else value, node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_defaults_named_in_the_code_are_those_of_a_schema(room):
    schemas, wrong = _schemas(), []
    for path in sorted((ROOT / room).rglob("*.py")):
        for name, default, line in _named(path):
            known = schemas.get(name, set())
            # Where the standard has none, nothing is the same as leaving it out.
            if _short(default) not in known and (known or default):
                wrong.append((str(path.relative_to(ROOT)), line, name, default))
    assert not wrong
