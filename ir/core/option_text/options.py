"""The options of a dataclass, from text and to text.

Names are kebab-case. The type of a value is that of the field it sets; what `show_options` writes,
`read_items` and `bind` read back to an equal value.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..errors import PipelineError, PlanishError
from ..nearest import nearest
from .items import Item, Value, Word, fail

_BARE = re.compile(r"[A-Za-z0-9_.+-]+")

D = TypeVar("D")


def bind(cls: type[D], item: Item, text: str) -> D:
    """Return an instance of the dataclass `cls` with the options of `item`, converted by type."""
    values = _values(cls, item, text)
    for name, f in option_fields(cls).items():
        optional = (f.default, f.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        if f.name not in values and not optional:
            message = f"'{item.name.text}' needs option '{name}'; write it in braces"
            raise fail(text, item.name, message)
    return _made(cls, values, item, text)


def rebind(instance: D, item: Item, text: str) -> D:
    """Return `instance` with the options of `item` set; the others stay."""
    values = _values(type(instance), item, text)
    return _made(functools.partial(dataclasses.replace, instance), values, item, text)  # type: ignore[type-var]


def option_fields(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a dataclass that are options, by name as it is written."""
    return {f.name.replace("_", "-"): f for f in dataclasses.fields(cls) if f.init}


def _values(cls: type, item: Item, text: str) -> dict[str, Any]:
    """Return the options of `item` by field, converted by type."""
    hints, known = _hints(cls), option_fields(cls)
    values: dict[str, Any] = {}
    for key, value in item.options:
        if key.text not in known:
            hint = nearest(key.text, known) if known else "; it has none"
            raise fail(text, key, f"'{item.name.text}' has no option '{key.text}'{hint}")
        name = known[key.text].name
        if name in values:
            raise fail(text, key, f"option '{key.text}' of '{item.name.text}' is given twice")
        if value is None:
            value = Word("true", key.start)
            if hints[name] is not bool:
                raise fail(text, key, f"option '{key.text}' of '{item.name.text}' needs a value")
        values[name] = _convert(value, hints[name], key, text)
    return values


def _made(make: Callable[..., D], values: dict[str, Any], item: Item, text: str) -> D:
    try:
        return make(**values)
    except (PlanishError, TypeError, ValueError) as error:  # a dataclass may check its fields
        raise fail(text, item.name, str(error)) from error


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def show_options(instance: Any) -> str:
    """Write the options of a dataclass that differ from their defaults: `{a=1,b="x y"}` or ``."""
    shown = []
    for f in dataclasses.fields(instance):
        if not f.init:
            continue
        value = getattr(instance, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if type(value) is not type(default) or value != default:
            shown.append(f"{f.name.replace('_', '-')}={show_value(value)}")
    return "{" + ",".join(shown) + "}" if shown else ""


def show_value(value: Any) -> str:
    """Write the value of an option as `bind` reads it back: `true`, `none`, `[a,b]`, `"x y"`."""
    if isinstance(value, tuple | list):
        return "[" + ",".join(show_value(item) for item in value) + "]"
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, str):
        bare = _BARE.fullmatch(value) and not _reads_otherwise(value)
        return value if bare else json.dumps(value)
    return repr(value.item() if isinstance(value, np.generic) else value)


def _reads_otherwise(text: str) -> bool:
    """Say whether the bare text could be taken for a number, a truth value or none."""
    if text in ("none", "true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _convert(value: Value, kind: Any, key: Word, text: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(kind) if m is not type(None)]
        nothing = isinstance(value, Word) and value.text == "none" and not value.quoted
        if nothing and len(members) < len(typing.get_args(kind)):
            return None
        return _convert_to_any(value, members, key, text)
    if origin in (tuple, list):
        items = value if isinstance(value, list) else [value]
        kinds = typing.get_args(kind)
        if origin is list or kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(items)
        if len(items) != len(kinds):
            message = f"option '{key.text}' takes {len(kinds)} values, not {len(items)}"
            raise fail(text, key, message)
        return origin(_convert(item, k, key, text) for item, k in zip(items, kinds, strict=True))
    if isinstance(value, list):
        raise fail(text, key, f"option '{key.text}' takes one value, not a list")
    expected = {int: "a whole number", float: "a number", bool: "true or false"}
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.text]
        if kind in (int, float) and not value.quoted:
            number = kind(value.text)
            if number == number:  # no pass means NaN, which is on neither side of any bound
                return number
        if kind is str:
            return value.text
    except (KeyError, ValueError):
        pass
    if origin is typing.Literal:
        named = {c if isinstance(c, str) else show_value(c): c for c in typing.get_args(kind)}
        if value.text in named and (isinstance(named[value.text], str) or not value.quoted):
            return named[value.text]
        choices = list(named)
        raise fail(
            text, value, f"option '{key.text}' is '{value.text}'{nearest(value.text, choices)}"
        )
    raise fail(
        text,
        value,
        f"option '{key.text}' takes {expected.get(kind, kind)}, not '{value.text}'",
    )


def _convert_to_any(value: Value, members: list[Any], key: Word, text: str) -> Any:
    """Convert to the first member that takes `value`; text comes last, unless it is quoted."""
    quoted = isinstance(value, Word) and value.quoted
    refusals = []
    for member in sorted(members, key=lambda m: (m is str) != quoted):
        try:
            return _convert(value, member, key, text)
        except PipelineError as error:
            refusals.append(error)
    raise refusals[0]
