"""Operands that no input decides, beside those whose sizes change: grids, positions, weights.

x [1, 400, 768] + p [1, 400, 768]  ->  x [1, 1600, 768] + p        has no meaning
x [10, 64] + p [10, 64], all rows of p alike  ->  x [1, 64] + p [1, 64]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from ....ir.ops.axes.named import normal_axes
from ....ir.ops.traits import attribute, traits_of
from .cuts import patches_of
from .held import check_held
from .masks import grown_mask
from .numbers import check_numbers, is_own
from .site import Array, FixedSizeError, MisfitError, SizedSite
from .tables import grown_table

Replaced = dict[int, Array]


def operands(site: SizedSite) -> Replaced:
    """Return the constants, by input position, that `site` is to have in place of its own.

    Raises FixedSizeError where one holds something for each element of a size that has changed.
    """
    traits = traits_of(site.node, site.after.opset)
    check_numbers(site)
    check_held(site)
    if traits.broadcasts:
        return dict(_of_broadcast(site))
    if traits.weighted is not None and site.node.op in ("Gemm", "MatMul"):
        return dict(_of_features(site))
    if site.node.op == "GridSample":
        _check_grid(site)
    if site.node.op == "Expand":
        return dict(_of_expand(site))
    if site.node.op == "Concat":
        return dict(_of_concat(site))
    if site.node.op == "Gather":
        return dict(_of_patches(site))
    return dict(_of_states(site)) if traits.recurrent else {}


def _of_broadcast(site: SizedSite) -> Iterator[tuple[int, Array]]:
    for place, tensor in enumerate(site.node.inputs):
        fixed = site.sizes(place)
        if fixed is None or site.is_live(tensor):
            continue
        wanted: dict[int, int] = {}
        for other in _live(site):
            pair = site.sizes(other)
            for back in range(1, min(len(fixed[0]), len(pair[0]) if pair else 0) + 1):
                assert pair is not None
                size, was, now = fixed[0][-back], pair[0][-back], pair[1][-back]
                fitted = size != fixed[1][-back]  # computed
                if was == now or fitted or size == 1 or (size != was and was != 1):
                    continue
                if was == 1:
                    raise FixedSizeError(
                        f"its operand '{tensor.name}' {list(fixed[0])} made {size} elements of "
                        f"one, which becomes {now}"
                    )
                wanted[len(fixed[0]) - back] = now
        if wanted:
            yield place, _fitted(site, place, wanted, alone=1)


def _of_expand(site: SizedSite) -> Iterator[tuple[int, Array]]:
    """States of zeros, folded at the old batch, are expanded to the batch that there is."""
    pair, asked = site.sizes(), site.asked("shape")
    if pair is None or asked is None or site.is_live(site.node.inputs[0]):
        return
    values: Array | None = None
    for axis, (was, now) in enumerate(zip(*asked, strict=True), len(pair[0]) - len(asked[0])):
        if axis >= 0 and was != now and pair[1][axis] == was != 1:
            values = _alike(site, 0, axis, 1, values)
    if values is not None:
        yield 0, values


def _of_concat(site: SizedSite) -> Iterator[tuple[int, Array]]:
    live = [site.sizes(place) for place in _live(site)]
    pair = next((found for found in live if found is not None), None)
    if pair is None:
        return
    joined = normal_axes([attribute(site.node, "axis", site.after.opset)], len(pair[0]))
    for place, tensor in enumerate(site.node.inputs):
        fixed = site.sizes(place)
        if fixed is None or site.is_live(tensor) or joined is None:
            continue
        sizes = enumerate(pair[1])
        wanted = {a: now for a, now in sizes if a != joined[0] and fixed[1][a] != now}
        if wanted:
            yield place, _fitted(site, place, wanted)


def _of_patches(site: SizedSite) -> Iterator[tuple[int, Array]]:
    """Places of patches that slide, of which more fit into a longer row."""
    made = patches_of(site)
    if made is not None:
        yield 1, made


def _of_states(site: SizedSite) -> Iterator[tuple[int, Array]]:
    """The first state of a recurrent layer has one row a sample: [directions, batch, hidden]."""
    pair = site.sizes()
    batch, row = (0, 0) if site.node.attrs.get("layout", 0) else (1, 1)
    if pair is None or pair[0][batch] == pair[1][batch]:
        return
    for place in (5, 6):
        fixed = site.sizes(place)
        if fixed is not None and not site.is_live(site.node.inputs[place]):
            yield place, _alike(site, place, row, pair[1][batch], None)


def _check_grid(site: SizedSite) -> None:
    """Refuse a constant grid, which has a place for each element of a map that changes."""
    pair, grid = site.sizes(), site.sizes(1)
    if pair is None or grid is None or site.is_live(site.node.inputs[1]):
        return
    if pair[0] != pair[1] and grid[0] == grid[1]:
        raise FixedSizeError(
            f"its grid '{site.node.inputs[1].name}' {list(grid[0])} is for {list(pair[0])}, which "
            f"becomes {list(pair[1])}"
        )


def _of_features(site: SizedSite) -> Iterator[tuple[int, Array]]:
    """A weight for each feature; places may be such, as where their mean is taken."""
    pair, weight = site.sizes(), site.sizes(1)
    if pair is None or weight is None or site.is_live(site.node.inputs[1]) or not pair[0]:
        return
    axis = 0 if site.node.op == "Gemm" and site.node.attrs.get("transA", 0) else -1
    was, now = pair[0][axis], pair[1][axis]
    if was == now or weight[1] != weight[0]:
        return
    values, row = site.values_after(site.node.inputs[1]), max(len(weight[0]) - 2, 0)
    counts = values is not None and bool((values != np.take(values, [0], row)).any())
    if values is not None and counts and site.node.op == "MatMul" and weight[0][row] == was:
        grown = grown_table(values, [(row, now)], list(site.seen.maps), partial(is_own, site))
        if grown is not None:
            yield 1, grown
            return
    raise MisfitError(
        f"its weight '{site.node.inputs[1].name}' {list(weight[0])} is for {was} features, and "
        f"there are {now} at this size; a network that ends so is for one size of image"
    )


def _fitted(
    site: SizedSite, place: int, wanted: Mapping[int, int], alone: int | None = None
) -> Array:
    """Return a constant with the sizes `wanted`, by axis; else refuse.

    `alone`: how many elements it is to have where all are alike, None for as many as wanted.
    """
    values = _known(site, place)
    if values is None:
        raise _not_alike(site, place)
    rest = []
    for axis, now in wanted.items():
        first: Array = np.take(values, [0], axis)
        if np.array_equal(values, np.broadcast_to(first, values.shape)):
            values = np.repeat(first, now if alone is None else alone, axis)
        else:
            rest.append((axis, now))
    if not rest:
        return values
    maps, own = list(site.seen.maps), partial(is_own, site)
    mask = grown_mask(values, rest[0][0], maps, rest[0][1]) if len(rest) == 1 else None
    grown = grown_table(values, rest, maps, own) if mask is None else mask
    if grown is None:
        raise _not_alike(site, place)
    return grown


def _alike(site: SizedSite, place: int, axis: int, count: int, known: Array | None) -> Array:
    """Return a constant with `count` elements on `axis`, of which all are alike; else refuse."""
    values = _known(site, place) if known is None else known
    if values is not None:
        first: Array = np.take(values, [0], axis)
        if np.array_equal(values, np.broadcast_to(first, values.shape)):
            return np.repeat(first, count, axis)
    raise _not_alike(site, place)


def _known(site: SizedSite, place: int) -> Array | None:
    tensor = site.node.inputs[place]
    values = site.after.constant(tensor)
    return site.values_after(tensor) if values is None else values


def _not_alike(site: SizedSite, place: int) -> MisfitError:
    sizes = site.sizes(place)
    return MisfitError(
        f"its operand '{site.node.inputs[place].name}' {list(sizes[0]) if sizes else ''} holds a "
        "value for each element of a size that changes; export the model at the size that you "
        "want, or with that axis dynamic"
    )


def _live(site: SizedSite) -> list[int]:
    return [p for p, t in enumerate(site.node.inputs) if not t.is_empty() and site.is_live(t)]
