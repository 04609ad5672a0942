"""Reshapes, whose target holds the sizes that there were.

[10, 512, 7, 7] -> [10, 25088]   at [1, 512, 10, 10]:   [1, 51200]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from .regroup import regrouped
from .seen import Sizes
from .site import Changes, FixedSizeError, SizedSite, UndecidedPartsError
from .splits import FIRST, LAST, ONES, Parts, Split


def reshape(site: SizedSite) -> Changes | None:
    """Return what a Reshape is told of sizes, where one that changes is among them."""
    pair, asked = site.sizes(), site.asked("shape")
    if pair is None or asked is None or pair[0] == pair[1]:
        return None
    copies = not site.node.attrs.get("allowzero", 0)
    made = _resolved(asked[0], pair[0], copies)
    if made is None:
        return None
    as_it_is = _resolved(asked[1], pair[1], copies)
    rest = asked[0].index(-1) if -1 in asked[0] else None
    wanted = _regrouped(site, made, rest)
    computed = asked[0] != asked[1]
    if as_it_is is not None and (as_it_is == wanted or (computed and -1 not in asked[1])):
        return None
    if wanted is None:
        if computed and as_it_is is not None:
            return None
        raise FixedSizeError(
            f"it reshapes {list(pair[0])} to {made}, which does not say how {list(pair[1])} is to "
            "be reshaped"
        )
    kept = [a if a in (0, -1) else size for a, size in zip(asked[0], wanted, strict=True)]
    return {"shape": kept if _resolved(kept, pair[1], copies) == wanted else wanted}


def _regrouped(site: SizedSite, made: Sequence[int], rest: int | None) -> list[int] | None:
    """Return what a Reshape to `made` is at the new sizes; None where it does not say."""
    pair = site.sizes()
    assert pair is not None
    factors = [one for axis in site.factors(site.node.inputs[0], pair) for one in axis]
    before, now = [was for was, _ in factors], [size for _, size in factors]
    become = partial(site.seen.become, rank=len(made))

    def way(parts: Parts) -> list[int] | None:
        return regrouped(before, made, now, become, rest, parts)

    asked: dict[Split, int | None] = {}
    windowed = _side_of_ones(site, made)
    for place in (LAST, FIRST):
        way(replace(site.parts, default=place, windowed=windowed, seen=asked))
    if not site.is_between:
        site.parts.seen.update(asked)
    filled = next((o for o in asked if o.whole and o.size not in {1, *site.parts.given}), None)
    if filled is not None and site.rolls():
        raise FixedSizeError(
            f"it reshapes {list(pair[0])} to {list(made)}: one window of {filled.size} fills its "
            "row, and others are rolled on to shift them; whether these are shifted too, where "
            f"there are several, does not follow; windows=[{filled.size}] leaves them in place"
        )
    parts = replace(site.parts.with_recurring(asked), windowed=windowed, seen={})
    places = (LAST, FIRST) if parts.default is None else (parts.default,)
    both = [way(replace(parts, default=place)) for place in places]
    known = [sizes for sizes in both if sizes is not None]
    if len(known) > 1 and known[0] != known[1]:
        split = next(o for o, place in asked.items() if place is None and parts.of(o) is None)
        says = f"windows=[{split.last}], or [{split.first}], says"
        if split.first == split.last:
            says = "like=FILE, another export at another size, says"
        if split == ONES:
            raise UndecidedPartsError(
                f"it reshapes {list(pair[0])} to {list(made)}, and either axis of one may be the "
                f"one that grows: {known[0]} or {known[1]} of {list(pair[1])}; like=FILE, another "
                "export at another size, says which"
            )
        raise UndecidedPartsError(
            f"it reshapes {list(pair[0])} to {list(made)}, which takes {split.size} apart as "
            f"{split.first} * {split.last}, and either may stay: {known[0]} or {known[1]} of "
            f"{list(pair[1])}; {says} which"
        )
    return known[0] if known else None


def _side_of_ones(site: SizedSite, made: Sequence[int]) -> int:
    """Return on which side of rows and columns a one each has come, all of which is moved then.

    -1 for before them, 1 for behind them, 0 where none has: they may be windows, one in each.
    """
    readers = site.after.readers(site.node.outputs[0])
    if not readers or any(node.op != "Transpose" for node in readers):
        return 0
    for place in range(len(made) - 3):
        a, b, c, d = made[place : place + 4]
        if a == c == 1 < min(b, d):
            return -1
        if b == d == 1 < min(a, c):
            return 1
    return 0


def _resolved(asked: Sequence[int], sizes: Sizes, copies: bool) -> list[int] | None:
    """Return what a Reshape of `sizes` gives, None where it does not fit."""
    found = []
    for place, size in enumerate(asked):
        if size == 0 and copies:
            if place >= len(sizes):
                return None
            size = sizes[place]
        found.append(size)
    whole = math.prod(sizes)
    if -1 in found:
        rest = math.prod(size for size in found if size != -1)
        if found.count(-1) > 1 or not rest or whole % rest:
            return None
        found[found.index(-1)] = whole // rest
    return found if math.prod(found) == whole else None
