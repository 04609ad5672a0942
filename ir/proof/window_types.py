"""The types of all tensors in a window, from evaluating it where inference does not know them.

At two choices of its open sizes: one that changes is open, and has the name of the one that it is
at both.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ..graph.types import Dim, TensorType
from .axes.locality import own_sizes
from .axes.node import Types, is_open
from .axes.open_sizes import look_at, open_sizes
from .evaluation import BothSides
from .values import UnsupportedError
from .windows import ProofWindow

Pair = tuple[Types, Types]


def window_types(
    window: ProofWindow, base: Pair, opened: Pair, opsets: tuple[int, int], seed: Sequence[int]
) -> tuple[Pair, Pair]:
    """Return the types before and after at sizes that were chosen, and those with open sizes.

    Those of tensors inside the window follow from those of its inputs.
    """
    own = {a.name: found for a, b in window.inputs if (found := own_sizes(a, b, base)) is not None}
    if len(own) < len(window.inputs) or all(map(_is_known, base, (window.before, window.after))):
        return base, opened
    groups = open_sizes(window, own, opened)
    if any(len(group.own) > 1 for group in groups):
        return base, opened
    first = [next(iter(group.own)) for group in groups]
    second = [size + at + 1 for at, size in enumerate(first)]  # of no two the same
    pairs = [(pair, f"size {at}") for at, pair in enumerate(zip(first, second, strict=True))]
    chosen: list[Types] = []
    with_names: list[Types] = []
    try:
        looks = [look_at(groups, sizes, own, opened) for sizes in (first, second)]
        one, two = (
            BothSides(window=window, look=look, opsets=opsets, seed=seed).types() for look in looks
        )
        for side in (0, 1):
            inner = {
                name: TensorType(types.dtype, _open_shape(types, two[side][name], pairs))
                for name, types in one[side].items()
            }
            chosen.append(ChainMap(one[side], dict(base[side])))
            with_names.append(ChainMap(inner, dict(opened[side])))
    except UnsupportedError:
        return base, opened
    return (chosen[0], chosen[1]), (with_names[0], with_names[1])


def _is_known(types: Types, nodes: Sequence[gs.Node]) -> bool:
    return all(
        (found := types.get(t.name)) is not None
        and found.shape is not None
        and not any(map(is_open, found.shape))
        for node in nodes
        for t in (*node.inputs, *node.outputs)
        if t.name and not isinstance(t, gs.Constant)
    )


def _open_shape(
    first: TensorType, second: TensorType, pairs: Sequence[tuple[tuple[int, int], str]]
) -> tuple[Dim, ...]:
    found: list[Dim] = []
    if len(first.shape or ()) != len(second.shape or ()):
        raise UnsupportedError("a rank that open sizes decide")
    for sizes in zip(first.shape or (), second.shape or (), strict=True):
        names = [name for pair, name in pairs if pair == sizes]
        found.append(sizes[0] if sizes[0] == sizes[1] else names[0] if names else None)
    return tuple(found)
