"""Parts that are cut out of rows whose size changes: Slice, Split, TopK, Gather.

x[:, :, 1:-1], x[:, :, :3] of 16   ->   as they are, of any size
x[:, :, 8:] of 16                  ->   half of it, or from the eighth place on: not known

A place near an end is one of its own; one that is a simple part of the row, or that counts from the
other end, may be computed from its size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import TO_THE_END
from ....ir.ops.traits import attribute
from .patches import grown_patches
from .seen import known
from .site import Array, Changes, FixedSizeError, Guess, SizedSite

_PARTS = (2, 3, 4, 8)
# That are taken of a row, each with the fewest that are no number of their own.
_SHARES = {2: 4, 3: 4, 4: 4, 5: 4, 8: 4, 10: 10, 16: 10, 20: 10, 32: 20, 50: 20, 64: 20, 100: 20}
_FEW = 4  # elements that are picked one by one


def is_own_place(place: int, size: int) -> bool:
    """Say whether `place` in a row of `size`, negative from its end, is one of rows of any size."""
    place = abs(place)
    if place <= 1:
        return True
    if 2 * place >= size - 1:
        return False
    return place < 3 or all(place * part % size for part in _PARTS)


def cut_slice(site: SizedSite) -> Changes | None:
    """Return the ends of a Slice where they are those of a row that changes."""
    pair = site.sizes()
    starts, ends = site.asked("starts"), site.asked("ends")
    if pair is None or pair[0] == pair[1] or starts is None or ends is None:
        return None
    axes = _axes_of(site, len(starts[0]), len(pair[0]))
    steps = read_parameter(site.node, "steps", site.after, site.values_after).ints()
    if axes is None:
        return None
    begins, wanted, guessed = list(starts[1]), list(ends[1]), False
    for place, axis in enumerate(axes):
        was, now = pair[0][axis], pair[1][axis]
        start, end, step = starts[0][place], ends[0][place], steps[place] if steps else 1
        computed = (start, end) != (starts[1][place], ends[1][place])
        if was == now or computed or _is_flip(start, end, step, was):
            continue
        rolled = _rolled_place(site, axis, (start, end, step), was)
        if rolled is not None:
            here = rolled if 2 * rolled < was else now - (was - rolled)
            begins[place], wanted[place] = (0, here) if start == 0 else (here, TO_THE_END)
            continue
        if step < 0 or not (start < step or is_own_place(start, was)):
            raise _cut(start, end, step, was, now)
        if start < -1 and not is_own_place(start, was):
            raise _cut(start, end, step, was, now)
        if end > max(was, now) or 0 <= end <= max(step, 1):
            continue  # up to the end, or the first alone
        if end < 0:
            if not is_own_place(end, was):
                raise _cut(start, end, step, was, now)
            continue
        follows = TO_THE_END if end >= was else None
        if follows is None and start == 0 and step == 1:
            follows = site.seen.follow(axis, end, len(pair[0]))
            moves = follows is not None and follows != end
            guessed = guessed or (moves and not site.is_given(axis, end))
        if follows is None and is_own_place(end, was):
            continue
        if follows is None:
            raise _cut(start, end, step, was, now)
        wanted[place] = follows
    changes = {"ends": wanted} if wanted != list(ends[1]) else {}
    if begins != list(starts[1]):
        changes["starts"] = begins
    return (Guess(changes) if guessed else changes) or None


def _rolled_place(site: SizedSite, axis: int, cut: tuple[int, int, int], size: int) -> int | None:
    """Return where a row is cut to be rolled on by a few: the end of it, and then the beginning."""
    start, end, step = cut
    place = end if start == 0 else start
    near = min(place, size - place)
    if step != 1 or not near > 0 or not is_own_place(near, size):
        return None
    if start not in (0, place) or (start == place and end < size):
        return None
    source, made = site.was.inputs[0], site.was.outputs[0]
    joins = [node for node in site.before.readers(made) if node.op == "Concat"]
    if len(joins) != 1 or len(joins[0].inputs) != 2:
        return None
    other = joins[0].inputs[0 if start == 0 else 1]
    beside = site.before.producer(other)
    if beside is None or beside.op != "Slice" or beside.inputs[0] is not source:
        return None
    sizes, there = known(site.before.shape(made)), known(site.before.shape(other))
    whole = known(site.before.shape(source))
    if sizes is None or there is None or whole is None or joins[0].inputs[0] is joins[0].inputs[1]:
        return None
    rest = [n + m if a == axis else n for a, (n, m) in enumerate(zip(sizes, there, strict=True))]
    first = read_parameter(beside, "starts", site.before, site.values_before).ints()
    opposite = first == [place] if start == 0 else first == [0]
    return place if tuple(rest) == whole and opposite else None


def _is_flip(start: int, end: int, step: int, size: int) -> bool:
    return step == -1 and (start == -1 or start >= size) and end < -size


def _axes_of(site: SizedSite, count: int, rank: int) -> list[int] | None:
    given = read_parameter(site.node, "axes", site.after, site.values_after)
    if not given.known:
        return None
    axes = normal_axes(range(count) if given.values is None else given.ints() or [], rank)
    return None if axes is None else list(axes)


def _cut(start: int, end: int, step: int, was: int, now: int) -> FixedSizeError:
    stop = "the end" if end >= was else str(end)
    return FixedSizeError(
        f"it cuts from {start} to {stop} by {step} out of {was}, which becomes {now}; whether "
        "these are places to keep does not follow"
    )


def cut_split(site: SizedSite) -> Changes | None:
    """Return the parts of a Split of a row that changes."""
    pair, asked = site.sizes(), site.asked("split")
    if pair is None or asked is None or asked[0] != asked[1] or not asked[0]:
        return None
    axes = normal_axes([attribute(site.node, "axis", site.after.opset)], len(pair[0]))
    if axes is None or pair[0][axes[0]] == pair[1][axes[0]]:
        return None
    axis, parts = axes[0], asked[0]
    now = pair[1][axis]
    wanted = [site.seen.follow(axis, part, len(pair[0])) for part in parts]
    if None not in wanted and sum(size or 0 for size in wanted) == now:
        return {"split": [size or 0 for size in wanted]}
    if len(set(parts)) == 1 and now % len(parts) == 0 and (len(parts) == 2 or site.follows):
        return {"split": [now // len(parts)] * len(parts)}
    raise FixedSizeError(f"it splits {pair[0][axis]} into {parts}, and {now} does not say how")


def cut_highest(site: SizedSite) -> Changes | None:
    """TopK of all elements is a sort, and one of half of them goes along; or both are numbers."""
    pair, asked = site.sizes(), site.asked("k")
    if pair is None or asked is None or asked[0] != asked[1] or len(asked[0]) != 1:
        return None
    axes = normal_axes([attribute(site.node, "axis", site.after.opset)], len(pair[0]))
    if axes is None:
        return None
    was, now, count = pair[0][axes[0]], pair[1][axes[0]], asked[0][0]
    shares = ((1, 1), *_SHARES.items())
    share = next((s for s, fewest in shares if count == was // s and count >= fewest), None)
    if was == now or share is None:
        return None
    if site.follows:
        return {"k": [now // share]}
    raise FixedSizeError(
        f"it takes the highest {count} of {was}, which becomes {now}; whether {count} is a number "
        "to keep does not follow"
    )


def cut_places(site: SizedSite) -> Changes | None:
    """Constant places within an axis that changes may be those of the old size."""
    pair, held = site.sizes(), site.values_before(site.was.inputs[1])
    if pair is None or held is None or not site.is_live(site.node.inputs[0]):
        return None
    changed = [axis for axis in _addressed(site, held) if pair[0][axis] != pair[1][axis]]
    now = site.values_after(site.node.inputs[1])
    computed = now is None or now.shape != held.shape or bool((now != held).any())
    if not changed or computed or not held.size or held.max() <= 0:
        return None
    if site.node.op == "Gather" and patches_of(site) is not None:
        return None
    few = site.node.op == "Gather" and held.size <= _FEW
    if few and all(is_own_place(int(place), pair[0][changed[0]]) for place in held.reshape(-1)):
        return None
    raise FixedSizeError(
        f"it takes elements up to {int(held.max())} of {pair[0][changed[0]]}, which becomes "
        f"{pair[1][changed[0]]}"
    )


def patches_of(site: SizedSite) -> Array | None:
    """Return the places that a Gather of patches is to take; None where it is none."""
    pair, held = site.sizes(), site.values_before(site.was.inputs[1])
    if pair is None or held is None or not site.is_live(site.node.inputs[0]):
        return None
    now = site.values_after(site.node.inputs[1])
    axis = _addressed(site, held)[0]
    if pair[0][axis] == pair[1][axis] or now is None or not np.array_equal(now, held):
        return None
    return grown_patches(held, pair[0][axis], pair[1][axis])


def _addressed(site: SizedSite, places: Array) -> Sequence[int]:
    """Return the axes that `places` are places on."""
    pair = site.sizes()
    assert pair is not None
    if site.node.op.endswith("ND"):
        first = site.node.attrs.get("batch_dims", 0)
        return range(first, min(first + places.shape[-1], len(pair[0])))
    return normal_axes([attribute(site.node, "axis", site.after.opset)], len(pair[0])) or ()
