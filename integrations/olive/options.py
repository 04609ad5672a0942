"""Options of planish's passes as Olive wants them: with a type, a default and what they mean."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from typing import Any

from ...ir.core.option_text.options import option_fields
from ...passes.pipeline.describe.options import options_of as described_options
from ...passes.pipeline.registry import get_pass

_SIMPLE = (str, int, float, bool)


@dataclass(frozen=True)
class PassOption:
    """An option of Olive's pass: `name` there, `field` in planish."""

    name: str
    field: str
    kind: Any
    default: Any
    description: str


@functools.cache
def options_of(passes: tuple[str, ...]) -> tuple[PassOption, ...]:
    """Return the options of `passes`, each once, that a configuration in JSON can say."""
    found: dict[str, PassOption] = {}
    for name in passes:
        kind = get_pass(name)
        hints = typing.get_type_hints(kind)
        texts = {each.name: each.text for each in described_options(kind)}
        for written, field in option_fields(kind).items():
            plain = _plain(hints[field.name])
            if plain is not None:
                default = [] if field.default == () else field.default
                option = PassOption(field.name, field.name, plain, default, texts[written])
                found.setdefault(field.name, option)
    return tuple(found.values())


def _plain(kind: Any) -> Any:
    """Return `kind` without None, tuples as lists; None where JSON cannot say its values."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        left = [part for part in typing.get_args(kind) if part is not type(None)]
        kinds = [_plain(part) for part in left]
        return None if None in kinds else functools.reduce(lambda a, b: a | b, kinds)
    if typing.get_origin(kind) is tuple:
        inner = _plain(typing.get_args(kind)[0])
        return None if inner is None else types.GenericAlias(list, (inner,))
    if typing.get_origin(kind) is typing.Literal or kind in _SIMPLE:
        return kind
    return None
