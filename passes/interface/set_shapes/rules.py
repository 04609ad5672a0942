"""What operators hold of sizes, and what it is to be when these change.

A rule returns the parameters that have to change, or nothing. It raises FixedSizeError where a
constant holds a size that has changed and one example does not say how: a size is only followed
where it is that of the operand itself, or of every tensor before it that had this size on this
axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.resizing import scaled
from ....ir.ops.traits.groups import POOLS
from .cuts import cut_highest, cut_places, cut_slice, cut_split
from .reshapes import reshape
from .site import Changes, FixedSizeError, Guess, SizedSite, Taken

Rule = Callable[[SizedSite], Changes | None]


def _expand(site: SizedSite) -> Changes | None:
    pair, asked = site.sizes(), site.asked("shape")
    if pair is None or asked is None:
        return None
    place = len(pair[0]) - len(asked[0])
    wanted = []
    for axis, (size, as_it_is) in enumerate(zip(*asked, strict=True)):
        own = axis + place
        if size != as_it_is:  # computed
            wanted.append(as_it_is)
        elif own >= 0 and pair[0][own] == size:
            wanted.append(pair[1][own])
        else:
            wanted.append(_followed(site, axis, size, len(asked[0])) if size != 1 else 1)
    changes = {"shape": wanted}
    changed = [axis for axis, size in enumerate(asked[1]) if size != wanted[axis] and axis + place]
    given = all(site.is_given(axis + place, asked[0][axis]) for axis in changed)
    kind = Taken if given else Guess
    needed = all(site.met(axis, asked[0][axis]) == {wanted[axis]} for axis in changed)
    made = kind(changes) if site.is_live(site.node.inputs[0]) and not needed else changes
    return made if wanted != asked[1] else None


def _tile(site: SizedSite) -> Changes | None:
    pair, asked = site.sizes(), site.asked("repeats")
    if pair is None or asked is None or asked[0] != asked[1]:
        return None
    if site.is_live(site.node.inputs[0]):
        return _tile_of_data(site, asked[0])
    wanted = [
        _followed(site, axis, count, len(asked[0])) if count > 1 and pair[0][axis] == 1 else count
        for axis, count in enumerate(asked[0])
    ]
    return {"repeats": wanted} if wanted != asked[0] else None


def _tile_of_data(site: SizedSite, repeats: Sequence[int]) -> Changes | None:
    wanted = [
        _followed(site, axis, count, len(repeats)) if count > 2 else count
        for axis, count in enumerate(repeats)
    ]
    return Guess({"repeats": wanted}) if wanted != repeats else None


def _filled(site: SizedSite) -> Changes | None:
    asked = site.asked("input")
    if asked is None or len(asked[0]) < 2:  # a list of sizes, such as pads
        return None
    wanted = [
        _followed(site, axis, size, len(asked[0])) if size == now and size > 1 else now
        for axis, (size, now) in enumerate(zip(*asked, strict=True))
    ]
    return {"input": wanted} if wanted != asked[1] else None


def _resize(site: SizedSite) -> Changes | None:
    return _resize_by_scales(site) if site.asked("sizes") is None else _resize_to_sizes(site)


def _resize_to_sizes(site: SizedSite) -> Changes | None:
    pair, asked = site.sizes(), site.asked("sizes")
    axes = None if pair is None else _resized_axes(site, len(pair[0]))
    if pair is None or asked is None or axes is None or len(axes) != len(asked[0]):
        return None
    wanted, given = [], True
    for axis, size, as_it_is in zip(axes, *asked, strict=True):
        computed = size != as_it_is
        wanted.append(as_it_is if computed else _resized(site, axis, size))
        if axis and wanted[-1] != as_it_is:  # the batch is not resized
            given = given and site.is_given(axis, size) and size != pair[0][axis]
    changes = {"sizes": wanted}
    # A map that becomes as large as the picture is the last of most networks that give maps.
    return (Taken(changes) if given else Guess(changes)) if wanted != asked[1] else None


def _resize_by_scales(site: SizedSite) -> Changes | None:
    """Scales that are computed hold the size that they are to give."""
    pair, made, scales = site.sizes(), site.made(), site.numbers("scales")
    axes = None if pair is None else _resized_axes(site, len(pair[0]))
    if pair is None or made is None or scales is None or axes is None:
        return None
    wanted = list(scales[1])
    for place, axis in enumerate(axes):
        if scales[0][place] == scales[1][place]:
            continue
        size = _resized(site, axis, made[axis])
        wanted[place] = size / pair[1][axis]
        if scaled(pair[1][axis], float(np.float32(wanted[place]))) != size:
            raise FixedSizeError(f"no scale makes {size} of {pair[1][axis]}")
    return {"scales": wanted} if wanted != list(scales[1]) else None


def _resized_axes(site: SizedSite, rank: int) -> list[int] | None:
    axes = normal_axes(list(site.node.attrs.get("axes") or range(rank)), rank)
    return None if axes is None else list(axes)


def _resized(site: SizedSite, axis: int, size: int) -> int:
    """Return what `size`, to which `axis` is resized, is to be."""
    pair = site.sizes()
    assert pair is not None
    was, now = pair[0][axis], pair[1][axis]
    follows = now if size == was else site.seen.follow(axis, size, len(pair[0]))
    if follows is None and was == now and not site.seen.differ(axis, size, len(pair[0])):
        follows = size
    if follows is None and site.follows and size * now % was == 0:
        follows = size * now // was
    if follows is None:
        raise FixedSizeError(
            f"it resizes {was} to {size} on axis {axis}, and nothing before it says whether {size} "
            f"is a size to keep or goes with {was}, which becomes {now}"
        )
    return follows


def _transposed(site: SizedSite) -> Changes | None:
    """The size that a ConvTranspose is told to give."""
    pair, asked = site.sizes(), site.asked("output_shape")
    if pair is None or asked is None or not asked[0] or pair[0][2:] == pair[1][2:]:
        return None
    wanted = [
        _resized(site, axis, size) for axis, size in enumerate(asked[0][-(len(pair[0]) - 2) :], 2)
    ]
    return {"output_shape": wanted} if wanted != asked[1] else None


def _pool(site: SizedSite) -> Changes | None:
    """A pool over everything, or to so many places, is exported as windows of one size.

    Windows from four on that lie side by side and leave nothing out may be such; smaller ones halve
    a map, as they do at any size.
    """
    pair, made = site.sizes(), site.made()
    kernel = list(site.node.attrs.get("kernel_shape") or ())
    if pair is None or made is None or not kernel or pair[0] == pair[1]:
        return None
    strides = list(site.node.attrs.get("strides") or [1] * len(kernel))
    if any(site.node.attrs.get("pads") or ()):
        return None
    wanted = list(kernel)
    for place, (was, now) in enumerate(zip(pair[0][2:], pair[1][2:], strict=True)):
        count, beside = made[2 + place], strides[place] == kernel[place]
        whole = kernel[place] == was and count == 1
        if was == now or not (
            whole or (beside and kernel[place] > 3 and was == count * kernel[place])
        ):
            continue
        if now % count:
            raise FixedSizeError(f"it pools {was} to {count} places, and {now} is no multiple")
        wanted[place] = now // count
    if wanted == kernel:
        return None
    steps = [w if s == k else s for w, k, s in zip(wanted, kernel, strides, strict=True)]
    return Guess({"kernel_shape": wanted} | ({"strides": steps} if steps != strides else {}))


def _followed(site: SizedSite, axis: int, size: int, rank: int) -> int:
    """Return what `size`, which no operand has, is to be: as the tensors before that have it."""
    made_of_data = site.is_live(site.node.inputs[0])
    if not made_of_data and axis == 0 and not site.seen.knows(axis, size, rank):
        return size  # such as the height of a grid, which is no batch
    met = site.met(axis, size)
    if len(met) == 1:
        return met.pop()
    if site.seen.differ(axis, size, rank):
        raise FixedSizeError(
            f"it gives a size of {size}, which some tensors before it had that change, and some "
            "that do not"
        )
    found = site.seen.follow(axis, size, rank)
    return size if found is None else found


RULES: dict[str, Rule] = {
    "Reshape": reshape,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _filled,
    "Resize": _resize,
    "Upsample": _resize,
    "Slice": cut_slice,
    "Split": cut_split,
    "Gather": cut_places,
    "GatherElements": cut_places,
    "GatherND": cut_places,
    "TopK": cut_highest,
    "ScatterElements": cut_places,
    "ScatterND": cut_places,
    "ConvTranspose": _transposed,
    **dict.fromkeys(POOLS, _pool),
}

# What goes along with its input where a person says so: by `follow`.
FOLLOWING = (
    frozenset(RULES)
    - {"Reshape", "ConstantOfShape"}
    - {op for op, rule in RULES.items() if rule is cut_places or rule is cut_slice}
)
