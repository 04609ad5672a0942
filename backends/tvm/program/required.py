"""What a node needs of sizes that are known only when a network runs, checked there.

    Gather by constants: size = max(size, what the indices reach)
    Split by constants: size = their sum
    Reshape: elements before = elements after
    Conv, ConvTranspose, pooling: size = max(size, what the window spans without its pads)

TVM's own operators take what they are given and read beside it. A pair of sizes that are to be
equal is compared by the virtual machine, at no cost beside a kernel's; what is provably so is not
compared at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.graph.view import View
from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits import operators_with
from ....ir.ops.traits.groups import POOLS
from ....ir.ops.windows.attributes import read_window
from .program import PlainTensors
from .value import shape_of

Sizes = Sequence[Any]
Pairs = list[tuple[Any, Any]]
Needed = Callable[[gs.Node, View, Sequence[Sizes]], Pairs]


def require(builder: Any, pairs: Pairs) -> bool:
    """Emit the comparison of sizes that are to be equal; False where they are known not to be."""
    from tvm import relax, sym, tirx

    simple = sym.Analyzer().simplify
    # Of a pair of names, TVM would take one for the other instead of comparing them.
    gaps = [simple(tirx.const(0, "int64") + a - b) for a, b in pairs]
    open_ = [gap for gap in gaps if not sym.Analyzer().can_prove_equal(gap, 0)]
    if any(isinstance(gap, tirx.IntImm) for gap in open_):
        return False
    if open_:
        zeros = [tirx.const(0, "int64")] * len(open_)
        builder.match_cast(builder.emit(relax.ShapeExpr(open_)), relax.ShapeType(zeros))
    return True


def required_before(node: gs.Node, view: View, tensors: PlainTensors) -> Pairs:
    """Return sizes that are to be equal for `node` to run."""
    needed = _NEEDED.get(node.op)
    if needed is None:
        return []
    shapes = [shape_of(tensors.plain(t)) for t in node.inputs[:2] if not t.is_empty()]
    known = [shape for shape in shapes if shape is not None]
    return needed(node, view, known) if len(known) == len(shapes) else []


def required_after(node: gs.Node, given: Any, made: Any) -> Pairs:
    """Return sizes that are to be equal for what a converter made of `node`."""
    if node.op != "Reshape":
        return []
    before, after = shape_of(given), shape_of(made)
    return [] if before is None or after is None else [(_product(before), _product(after))]


def expands_right(given: Any, made: Any) -> bool:
    """Say whether Expand's result surely has the sizes of a broadcast: TVM takes those asked for.

    Asked for a size of 1, or for one that is not known, an axis of more elements keeps its own.
    """
    from tvm import sym

    before, after = shape_of(given), shape_of(made)
    if before is None or after is None or len(before) > len(after):
        return False
    equal = sym.Analyzer().can_prove_equal
    aligned = zip(before, after[len(after) - len(before) :], strict=True)
    return all((isinstance(size, int) and size == 1) or equal(size, to) for size, to in aligned)


def _product(sizes: Sizes) -> Any:
    from tvm import tirx

    found: Any = tirx.const(1, "int64")
    for size in sizes:
        found = found * size
    return found


def _at_least(size: Any, least: int) -> tuple[Any, Any]:
    from tvm import tirx

    return size, tirx.max(tirx.const(0, "int64") + size, tirx.const(least, "int64"))


def _whole(size: Any, part: int) -> tuple[Any, Any]:
    return size, size // part * part


def _reach(indices: Any) -> int:
    """Return the least size of an axis that has all `indices`, from either end."""
    return max(int(indices.max()) + 1, -int(indices.min())) if indices.size else 0


def _gather(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    indices = view.constant(node.inputs[1])
    return [] if indices is None else [_at_least(shapes[0][_axis(node)], _reach(indices))]


def _gather_elements(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    indices = view.constant(node.inputs[1])
    if indices is None:
        return []
    least = list(indices.shape)
    least[_axis(node)] = _reach(indices)
    return [_at_least(size, count) for size, count in zip(shapes[0], least, strict=True)]


def _gather_nd(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    indices = view.constant(node.inputs[1])
    if indices is None:
        return []
    first = int(node.attrs.get("batch_dims", 0))
    columns = np.moveaxis(indices, -1, 0)
    found = [_at_least(s, _reach(c)) for s, c in zip(shapes[0][first:], columns, strict=False)]
    return [*zip(shapes[0][:first], indices.shape[:first], strict=True), *found]


def _split(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    size, parts = shapes[0][_axis(node)], read_parameter(node, "split", view).ints()
    if parts is None:
        return [_whole(size, len(node.outputs))]
    return [(size, sum(parts))]


def _depth_to_space(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    return [_whole(shapes[0][1], int(node.attrs["blocksize"]) ** 2)]


def _space_to_depth(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    return [_whole(size, int(node.attrs["blocksize"])) for size in shapes[0][2:]]


def _window(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    try:
        least = read_window(node, view).least
    except DeclinedError:  # the kernel is a weight of open sizes
        return []
    return [_at_least(size, count) for size, count in zip(shapes[0][2:], least, strict=True)]


def _convolution(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    channels = shapes[1][1] * int(node.attrs.get("group", 1))
    return [(shapes[0][1], channels), *_window(node, view, shapes)]


def _product_of_matrices(node: gs.Node, view: View, shapes: Sequence[Sizes]) -> Pairs:
    left, right = shapes
    depth = left[0] if node.attrs.get("transA", 0) else left[-1]
    by_rows = len(right) > 1 and not node.attrs.get("transB", 0)
    return [(depth, right[-2] if by_rows else right[-1])]


def _axis(node: gs.Node) -> int:
    return int(node.attrs.get("axis", 0))


_NEEDED: dict[str, Needed] = {
    **dict.fromkeys(POOLS & operators_with(lambda traits: traits.windowed), _window),
    "Conv": _convolution,
    "ConvTranspose": _window,
    "DepthToSpace": _depth_to_space,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gemm": _product_of_matrices,
    "MatMul": _product_of_matrices,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
}
