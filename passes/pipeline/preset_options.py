"""Options in the braces of a preset: each goes to every pass of the preset that has it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ...ir.core.errors import PipelineError
from ...ir.core.nearest import nearest
from ...ir.core.option_text.items import Item as Written
from ...ir.core.option_text.items import Word, fail
from ...ir.core.option_text.options import option_fields, rebind
from ..engine.contract import Pass
from .attempt import Item, members, with_each


def with_preset_options(passes: tuple[Item, ...], item: Written, text: str) -> tuple[Item, ...]:
    """Return the `passes` of a preset with the options that `item` was written with.

    Raises PipelineError, with carets under the option, where no pass has one of that name, one is
    given twice, or a pass does not take the value.
    """
    if not item.options:
        return passes
    _check_names(options_of(passes), item, text)

    def changed(each: Pass) -> Pass:
        own = option_fields(type(each))
        options = tuple(option for option in item.options if option[0].text in own)
        return rebind(each, Written(item.name, options), text) if options else each

    return tuple(with_each(each, changed) for each in passes)


def options_of(passes: Iterable[Item]) -> dict[str, tuple[str, ...]]:
    """Return the options that `passes` have, each with the names of the passes that have it."""
    found: dict[str, dict[str, None]] = {}
    for each in itertools.chain.from_iterable(map(members, passes)):
        for option in option_fields(type(each)):
            found.setdefault(option, {})[each.name] = None
    return {option: tuple(names) for option, names in found.items()}


def _check_names(known: dict[str, tuple[str, ...]], item: Written, text: str) -> None:
    seen: set[str] = set()
    for key, _ in item.options:
        if key.text not in known:
            raise _unknown(known, key, item, text)
        if key.text in seen:
            raise fail(text, key, f"option '{key.text}' of '{item.name.text}' is given twice")
        seen.add(key.text)


def _unknown(known: Iterable[str], key: Word, item: Written, text: str) -> PipelineError:
    hint = nearest(key.text, known)
    return fail(text, key, f"no pass of preset '{item.name.text}' has an option '{key.text}'{hint}")
