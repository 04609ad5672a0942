"""The options of a pass: what can be written in its braces."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any

from ....ir.core.option_text.options import show_value
from ...engine.contract import Pass
from .docstrings import options_in

_NAMES = {bool: "true | false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class OptionDescription:
    """One option of a pass.

    - `name`: as pipelines have it, with dashes.
    - `type`: what can be given: `true | false`, `whole number`, `[text, ...]`, `min-max | mse`.
    - `default`: as pipelines have it; empty where the option must be given.
    - `text`: what it means, in one sentence or two.
    """

    name: str
    type: str
    default: str
    text: str


def options_of(kind: type[Pass]) -> tuple[OptionDescription, ...]:
    """Describe the options of a pass, in the order of its fields."""
    hints = typing.get_type_hints(kind)
    texts = _texts(kind)
    return tuple(
        OptionDescription(
            field.name.replace("_", "-"),
            _show_type(hints[field.name]),
            _default(field),
            texts.get(field.name, ""),
        )
        for field in dataclasses.fields(kind)
        if field.init
    )


def _texts(kind: type[Pass]) -> dict[str, str]:
    """Return what the class says of its options, and its bases of those they bring along."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= options_in(base)
    return found


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return show_value(field.default_factory())
    return "" if field.default is dataclasses.MISSING else show_value(field.default)


def _show_type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_show_type(member) for member in arguments)
    if origin is typing.Literal:
        return " | ".join(show_value(value) for value in arguments)
    if origin in (tuple, list):
        return "[" + _show_items(arguments) + "]"
    if origin is collections.abc.Callable:
        return "function"
    return "none" if hint is type(None) else _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _show_items(arguments: tuple[Any, ...]) -> str:
    if arguments[-1] is Ellipsis or len(arguments) == 1:
        return f"{_show_type(arguments[0])}, ..."
    return ", ".join(map(_show_type, arguments))
