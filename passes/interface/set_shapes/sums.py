"""Over how many elements a tensor was summed, or is to be: by a reduction, a product of matrices.

sum(x [1, 8, 32]) / 32   |   (q / sqrt(8)) k   ->   32, and 8, where the numbers are these
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits import attribute, traits_of
from ....ir.ops.traits.model import Movement
from .seen import Summed, known
from .site import SizedSite

_MOST_STEPS = 6  # from a scale to the product that it is for


def summed(site: SizedSite) -> frozenset[Summed]:
    """Return over which sizes the result of `site`, or what it is of, is summed."""
    traits, pair = traits_of(site.node, site.after.opset), site.sizes()
    if pair is None:
        return frozenset()
    rank = len(pair[0])
    if traits.reduction or traits.arg_reduction:
        axes: Sequence[int] = _reduced(site, rank)
    elif traits.cumulative:
        axes = range(rank)
    elif site.node.op in _PRODUCTS:
        axes = contracted(site.node, 0, rank)
    else:
        return frozenset() if traits.weighted is not None else site.summed
    pairs = [Summed(pair[0][axis], pair[1][axis]) for axis in axes]
    changed = [one for one in pairs if one.changes]
    if not changed:
        return frozenset(pairs) if site.node.op in _PRODUCTS else frozenset()
    whole = Summed(math.prod(p.was for p in pairs), math.prod(p.now for p in pairs))
    return frozenset({*changed, whole})


def contracted(node: gs.Node, position: int, rank: int) -> Sequence[int]:
    """Return the axes of an operand of a product, of this rank, that the product sums over."""
    if node.op == "MatMul":
        return [rank - 1 if position == 0 or rank < 2 else rank - 2]
    terms, _, result = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")
    labels = terms.split(",")
    if not result or "." in terms or position >= len(labels) or len(labels[position]) != rank:
        return []
    return [axis for axis, name in enumerate(labels[position]) if name not in result]


def products_of(scope: gs.Graph, view: View) -> Iterator[tuple[gs.Tensor, int]]:
    """Yield tensors that are operands of a product of two, or scaled to be one, and its size."""
    for node in scope.nodes:
        for position, tensor in enumerate(node.inputs if node.op in _PRODUCTS else ()):
            shape = known(view.shape(tensor))
            if shape:
                sizes = [shape[axis] for axis in contracted(node, position, len(shape))]
                for before in _scaled(tensor, view):
                    yield before, math.prod(sizes)


def _scaled(tensor: gs.Tensor, view: View) -> Iterator[gs.Tensor]:
    """Yield `tensor`, and what it is of but for scales, reshapes and transposes."""
    for _ in range(_MOST_STEPS):
        yield tensor
        node = view.producer(tensor)
        if node is None or not (node.op in _FACTORS or _moves(node, view)):
            return
        tensor = data_of(node, view)


def _moves(node: gs.Node, view: View) -> bool:
    return traits_of(node, view.opset).movement <= Movement.PERMUTE


def data_of(node: gs.Node, view: View) -> gs.Tensor:
    """Return the first input that no constant is."""
    made = [(tensor, view.producer(tensor)) for tensor in node.inputs]
    return next(
        (t for t, by in made if not view.is_constant(t) and (by is None or by.op != "Constant")),
        node.inputs[0],
    )


def _reduced(site: SizedSite, rank: int) -> list[int]:
    if traits_of(site.node, site.after.opset).arg_reduction:
        return list(normal_axes([attribute(site.node, "axis", site.after.opset)], rank) or ())
    given = read_parameter(site.node, "axes", site.after, site.values_after).ints()
    return list(normal_axes(given or range(rank), rank) or ())


_PRODUCTS = frozenset({"MatMul", "Einsum"})  # of operands that are both data
_FACTORS = ("Mul", "Div")
