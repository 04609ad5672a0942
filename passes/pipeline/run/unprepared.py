"""What a run says of a pass that a preset prepares the graph for, where this pipeline did not."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from ....ir.core.option_text.items import Item as Written
from ....ir.core.option_text.items import read_items
from ...engine.contract import Pass
from ..presets import GROUPS, PRESETS
from ..registry import find_pass


def unprepared_remarks(passes: Sequence[Pass], index: int) -> tuple[str, ...]:
    """Return which passes that prepare for pass `index` in a preset do not stand before it."""
    item, before = passes[index], {each.name for each in passes[:index]}
    found = []
    for preset in PRESETS if item.settles else ():
        missing = [name for name in _preparing(preset, item.name) if name not in before]
        if missing:
            found.append(
                f"the preset {preset} also runs {' and '.join(missing)} before it, which keep the "
                "outputs closer to the float graph's; this pipeline does not"
            )
    return tuple(found)


@functools.cache
def _preparing(preset: str, name: str) -> tuple[str, ...]:
    """Return the passes of `preset` that prepare the graph for the pass called `name`."""
    names = list(_names(read_items(PRESETS[preset], GROUPS)))
    if name not in names:
        return ()
    found = dict.fromkeys(names[: names.index(name)])
    return tuple(each for each in found if _prepares(each))


def _names(items: Sequence[Written]) -> Iterator[str]:
    for item in items:
        if item.group is None:
            yield item.name.text
        else:
            yield from _names(item.group)


def _prepares(name: str) -> bool:
    made = find_pass(name)
    return made is not None and made.prepares
