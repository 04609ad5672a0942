"""Numbers that may be sizes: how many elements there are, the last place of a row, a middle.

ReduceSum(x [1, 8, 32]) / 32,  Clip(boxes, 0, 31),  y - 16  ->  at [1, 8, 64] 64, 63 and 32

No operator says of such a number where it comes from. One that is what networks make of a size
that changes (`forms`) is refused, unless something shows that it is one of its own (`excuses`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....ir.ops.traits import traits_of
from .excuses import excused
from .forms import MEANS, PLACES, ROOTS, STEPS, Form, matching, of_several
from .seen import Summed
from .site import Array, FixedSizeError, SizedSite

_MOST = 16  # different numbers of a constant, beyond which it is one of weights
_LARGEST = 1 << 20  # elements
_MIXED = 3  # numbers, from which on one may be a size by chance
_MANY = 16  # elements of several axes
_FEWEST = 3  # elements of a row that anything is made of
_FEWEST_SUMMED = 2
_FEWEST_ANYWHERE = 9
# What stands in every network: y = 2 x - 1, 0.5 x, x ** 2.
_COMMON = (0.0, 0.5, 1.0, 2.0)


def check_numbers(site: SizedSite) -> None:
    """Raise FixedSizeError where a few numbers hold a size, of an input say, that changes."""
    traits = traits_of(site.node, site.after.opset)
    if site.is_between or not (traits.broadcasts or site.node.op == "Clip"):
        return
    for name, values in _constants(site):
        near, numbers = _rounding(values), _different(values)
        told = [(number, _meaning(site, number, near, values.size == 1)) for number in numbers]
        if len(numbers) >= _MIXED and not all(reason or n in _COMMON for n, reason in told):
            told = [(number, _plain_meaning(site, number, near)) for number in numbers]
        for number, reason in told:
            if reason is not None:
                raise FixedSizeError(f"its operand '{name}' holds {number:g}, and {reason}")


def is_own(site: SizedSite, number: float) -> bool:
    """Say whether a number of a table is none that is made of sizes that change."""
    return site.is_between or abs(number) in _COMMON or _meaning(site, number, 2.5e-7) is None


def _constants(site: SizedSite) -> Iterator[tuple[str, Array]]:
    """Yield what no input decides, with names; what differs along an axis that changes is none."""
    live = [t for t in site.node.inputs if not t.is_empty() and site.is_live(t)]
    for place, (was, tensor) in enumerate(zip(site.was.inputs, site.node.inputs, strict=True)):
        if not live or tensor.is_empty() or site.is_live(tensor):
            continue
        values, now = site.values_before(was), site.values_after(tensor)
        if values is None or values.dtype.kind not in "iuf" or not 0 < values.size <= _LARGEST:
            continue
        computed = now is None or _different(values) != _different(now)
        if not computed and not site.is_table(place, values):
            yield tensor.name, values
    for name in ("min", "max") if site.node.op == "Clip" else ():
        if name in site.node.attrs:
            yield name, np.array(site.node.attrs[name])


def _different(values: Array) -> list[float]:
    found = np.unique(values[np.isfinite(values)])
    steps = np.diff(found.astype(np.float64))
    counts = found.size > 2 and bool(np.allclose(steps, steps[0], rtol=1e-4, atol=0))
    return [] if found.size > _MOST or counts else [float(number) for number in found]


def _rounding(values: Array) -> float:
    if values.dtype.kind in "iu":
        return 1e-9
    return max(2.5e-7, 2 * float(np.finfo(values.dtype).eps)) if values.dtype.itemsize < 8 else 3e-7


def _meaning(site: SizedSite, number: float, near: float, alone: bool = False) -> str | None:
    """Return which size `number` may be, None where it is a number of its own."""
    scales = site.node.op in ("Mul", "Div") or site.node.op == "Mod"
    reason = _of_counts(site, number, near) if scales and abs(number) != 1 else None
    if scales and alone and abs(number) == 1 and Summed.of_one(site.summed):
        return "1 was a number of elements that changes"
    if reason is not None:
        return reason
    if abs(number) in _COMMON:
        return _of_aspect(site, number) if scales and number and alone else None
    reason = _of_sizes(site, number, near, scales)
    return None if reason is None or excused(site, number) else reason


def _of_counts(site: SizedSite, number: float, near: float) -> str | None:
    """Return over how many elements a sum is, or is to be, of which the number is made."""
    for one in site.summed:
        form = matching(number, one.was, one.now, MEANS | ROOTS, near) if one.changes else None
        if form and one.was >= _FEWEST_SUMMED:
            return f"{one.was} was a number of elements that changes{_how(form, one.was)}"
    for one in site.scaled_for:
        form = matching(number, one.was, one.now, MEANS | ROOTS, near) if one.changes else None
        if form and one.was >= _FEWEST:
            return f"{one.was} is a number of elements that changes{_how(form, one.was)}"
    for count in (abs(number), 1 / abs(number) if number else 0):
        whole = round(count)
        if whole >= _MANY and abs(count - whole) <= near * whole and site.seen.holds(whole, 2):
            return f"{whole} was a number of elements that changes"
    return None


def _of_aspect(site: SizedSite, number: float) -> str | None:
    """A factor of one is none, but as the quotient of sides that were alike."""
    if site.used_often(number):
        return None
    for sides in site.seen.sides:
        for how, was, now in of_several(sides):
            if "/" in how and abs(number) == was != now:
                return f"it may be {how}, of sizes of inputs that change"
    return None


def _how(form: str, was: float) -> str:
    return "" if form == f"{was:g}" else f", of which it is {form}"


def _of_sizes(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    of_all = (_of_inputs, _of_own, _of_sides, _of_areas, _of_others)
    told = (of_one(site, number, near, scales) for of_one in of_all)
    return next((reason for reason in told if reason is not None), None)


def _of_inputs(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    for size in site.seen.given:
        form = matching(number, size.was, size.now, PLACES | STEPS, near)
        if form and size.was >= _FEWEST:
            return f"{size.told}{_how(form, size.was)}"
    return None


def _of_own(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    forms = _OWN | STEPS | ROOTS if scales else _OWN
    for was, now in _own(site):
        form = matching(number, was, now, forms, near) if was >= _FEWEST else None
        if form and not site.used_at_other_sizes(number, was):
            return f"{was}, of which it is {_one(form, was)}, was a size that changes"
    return None


def _of_sides(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    forms = _WHOLE | _ROOTS_OF_SIDES if scales else _WHOLE
    for how, was, now in (several for sides in site.seen.sides for several in of_several(sides)):
        form = matching(number, was, now, forms, near)
        if form:
            what = how if form == f"{was:g}" else form
            return f"it may be {what}, of sizes of inputs that change"
    return None


def _of_areas(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    for one in site.areas() if scales else ():
        form = matching(number, one.was, one.now, MEANS | ROOTS, near) if one.changes else None
        if form and one.was >= _FEWEST:
            return f"{one.was} is a number of elements that changes{_how(form, one.was)}"
    return None


def _of_others(site: SizedSite, number: float, near: float, scales: bool) -> str | None:
    """Of tensors anywhere before, of which a number is one by chance the sooner the smaller."""
    for one in site.seen.changed:
        form = matching(number, one.was, one.now, _ANYWHERE if scales else _ANYWHERE_PLACES, near)
        if form and one.was >= _FEWEST_ANYWHERE:
            return f"{one.was}, of which it is {_one(form, one.was)}, was a size that changes"
    return None


def _plain_meaning(site: SizedSite, number: float, near: float) -> str | None:
    """Return which size of an input one of several numbers, of which others are none, may be."""
    for size in site.seen.given:
        form = matching(number, size.was, size.now, _ANYWHERE, near)
        if form and size.was >= _MANY:
            return f"{size.told}{_how(form, size.was)}"
    return None


def _one(form: str, was: float) -> str:
    return "one or a root" if form == f"{was:g}" else form


def _own(site: SizedSite) -> list[tuple[int, int]]:
    """Return the sizes that change of what the inputs of `site` hold, beside their first."""
    pairs = [site.sizes(p) for p, t in enumerate(site.node.inputs) if site.is_live(t)]
    return [
        (was, now)
        for pair in pairs
        if pair is not None
        for was, now in zip(pair[0][1:], pair[1][1:], strict=True)
        if was != now
    ]


_WHOLE: dict[str, Form] = {"{}": PLACES["{}"], "1 / {}": STEPS["1 / {}"]}
_ROOTS_OF_SIDES: dict[str, Form] = {name: form for name, form in ROOTS.items() if "log" not in name}
_OWN: dict[str, Form] = {name: form for name, form in PLACES.items() if "quarter" not in name}
_ANYWHERE_PLACES: dict[str, Form] = {name: PLACES[name] for name in ("{}", "{} - 1")}
_ANYWHERE: dict[str, Form] = {**_ANYWHERE_PLACES, "1 / {}": STEPS["1 / {}"]}
