"""Shapes that ONNX's inference and ONNX Runtime see differently: the latter's.

Inference lets a window of `ceil_mode` start in the pad at the end, multiplies sizes and scales in
another precision, forgets the output padding of a padded ConvTranspose, takes the ends of a Slice
backwards for others, leaves an empty list of axes alone where runtimes squeeze all, does not count
axes from the end below opset 11, and takes what one branch gives for what both do. What a kernel
writes is what counts. (onnx 1.23, ONNX Runtime 1.32.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.constant_nodes import value_of_constant_node
from ...core.variables import dense_values, is_standard, subgraphs_of
from ...graph.types import Dim, Shape
from ...graph.view import View
from ..axes.named import normal_axes
from ..parameters import Array, input_of, read_parameter
from ..resizing import resized_shape
from ..slices import read_bounds
from ..traits.groups import POOLS
from ..traits.schemas import schema_of
from ..windows.attributes import window_attributes

# Inference steps through a list of sizes in an `int`, which overflows, and reads out of bounds.
_LARGEST_STEP = 1 << 30
# Whether inference is to be believed, constants say.
_BY_CONSTANTS = frozenset({"Range", "Slice", "Squeeze"})
_NOT_SEEN = frozenset({"MeanVarianceNormalization", "RegexFullMatch"})
_BOUNDS = ("starts", "ends", "axes", "steps")


@dataclass(frozen=True)
class RuntimeShape:
    """The shape of all results of a node; None where even the rank is not known.

    `dtype`: their type, where inference is not to see the node; None for that of the first input.
    """

    shape: Shape | None
    dtype: Any = None


def is_doubted(node: gs.Node, opset: int, given: AbstractSet[int] = frozenset()) -> bool:
    """Say whether inference may get the shape of the result of a standard `node` wrong.

    In a function's body, where an attribute is what a call gives, it may, and where what looks like
    a constant is the default of an input of the graph, one of `given` by id.
    """
    doubt = _DOUBTS.get(node.op)
    if doubt is None:
        return False
    told = node.op in _BY_CONSTANTS and any(id(tensor) in given for tensor in node.inputs)
    return told or doubt(node, opset)


def runtime_shape(node: gs.Node, view: View) -> RuntimeShape | None:
    """Return the shape of the results of a doubted node; None where inference is to be believed."""
    try:
        return _SHAPES[node.op](node, view)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return RuntimeShape(None)  # a parameter does not fit the operator


def misleads_inference(node: gs.Node, view: View) -> bool:
    """Say whether inference must not see `node`.

    It reads out of bounds behind a long step, and of a list of sizes that is cut where only a run
    tells, it takes the whole for what is left. A match of text without a type ends the process, and
    of a normalization without axes it has no body from opset 13 on.
    """
    if node.op != "Slice":
        return node.op in _NOT_SEEN
    found = [read_parameter(node, name, view, _values_of(view)) for name in _BOUNDS]
    if not all(parameter.known for parameter in found):
        return True
    return any(abs(step) > _LARGEST_STEP for step in found[-1].ints() or ())


def _values_of(view: View) -> Callable[[gs.Tensor], Array | None]:
    """Return what gives the values of constants, those of Constant nodes too."""

    def values(tensor: gs.Tensor) -> Array | None:
        held = view.constant(tensor)
        node = view.producer(tensor) if held is None else None
        if node is None or node.op != "Constant" or not is_standard(node):
            return held
        return value_of_constant_node(node)

    return values


def _rounds_up(node: gs.Node, opset: int) -> bool:
    """Inference counts a window that starts in the pad, and pads SAME by the dilated kernel."""
    if node.attrs.get("ceil_mode", 0):
        return True
    dilations = node.attrs.get("dilations") or ()
    bound = isinstance(dilations, gs.Node.AttributeRef)
    return (bound or any(size != 1 for size in dilations)) and _is_same(node)


def _pads_by_size(node: gs.Node, opset: int) -> bool:
    """Inference leaves `output_padding` out of what SAME pads, and `output_shape` lacks axes."""
    return _is_same(node) or "output_shape" in node.attrs


def _is_same(node: gs.Node) -> bool:
    auto = node.attrs.get("auto_pad", "NOTSET")
    if isinstance(auto, gs.Node.AttributeRef):
        return True
    return "SAME" in (auto.decode() if isinstance(auto, bytes) else str(auto))


def _windowed(node: gs.Node, view: View) -> RuntimeShape | None:
    x = view.shape(node.inputs[0])
    kernel, channels = node.attrs.get("kernel_shape"), None if x is None else x[1:2]
    if node.op == "ConvTranspose":
        weight = view.shape(node.inputs[1])
        if weight is None or not all(isinstance(size, int) for size in weight[1:]):
            return None
        kernel, channels = weight[2:], (weight[1] * node.attrs.get("group", 1),)
    if x is None or channels is None or not kernel or len(kernel) != len(x) - 2:
        return None
    window = window_attributes(node.op, node.attrs, kernel)
    return RuntimeShape((x[0], *channels, *window.outputs(x[2:])))


def _has_scales(node: gs.Node, opset: int) -> bool:
    """Inference multiplies scales in another precision, and keeps another ratio of sizes."""
    return True


def _resized(node: gs.Node, view: View) -> RuntimeShape | None:
    found = resized_shape(node, view, _values_of(view))
    return None if found is None else RuntimeShape(found)


def _has_steps(node: gs.Node, opset: int) -> bool:
    """Inference takes an end that is INT_MAX for what it is, backwards too.

    That of opset 10 gives a part of an axis whose size has a name that name, and before, nothing is
    known where axes are not in order.
    """
    if opset == 10:
        return True
    if opset < 10:
        axes = node.attrs.get("axes")
        return axes is not None and (
            not isinstance(axes, list | tuple) or list(axes) != sorted(axes)
        )
    if any(t.name and dense_values(t) is None for t in node.inputs[1:]):
        return True
    position = input_of(node.op, "steps", opset)
    if position is None or position >= len(node.inputs) or not node.inputs[position].name:
        return False
    return bool(np.any(dense_values(node.inputs[position]) != 1))


def _sliced(node: gs.Node, view: View) -> RuntimeShape | None:
    x = view.shape(node.inputs[0])
    if x is None:
        return None
    bounds = read_bounds(node, view, _values_of(view))
    if bounds is None:
        return RuntimeShape(_cut_somewhere(x, node, view))
    found = list(x)
    for each in bounds:
        found[each.axis] = each.taken(found[each.axis])
    return RuntimeShape(tuple(found))


def _cut_somewhere(x: Shape, node: gs.Node, view: View) -> Shape:
    """Return what is known of the shape of a Slice of `x` whose bounds only a run tells."""
    axes = read_parameter(node, "axes", view, _values_of(view))
    named = None if axes.values is None else normal_axes(axes.values, len(x))
    if not axes.given:
        starts = view.shape(node.inputs[1]) if len(node.inputs) > 1 else None
        count = starts[0] if starts else None
        named = list(range(count)) if isinstance(count, int) else None
    return tuple(None if named is None or axis in named else n for axis, n in enumerate(x))


def _counts_floats(node: gs.Node, opset: int) -> bool:
    """Inference divides in another precision."""
    held = [dense_values(tensor) for tensor in node.inputs]
    return any(values is None or values.dtype.kind == "f" for values in held)


def _range(node: gs.Node, view: View) -> RuntimeShape | None:
    found = [_values_of(view)(tensor) for tensor in node.inputs]
    known = [v.reshape(-1)[0] for v in found if v is not None and v.size and v.dtype.kind == "f"]
    if len(known) < 3:
        return None
    start, limit, delta = map(float, known)
    count = (limit - start) / delta if delta else math.nan
    return RuntimeShape((max(math.ceil(count), 0) if math.isfinite(count) else None,))


# Runtimes take axes from the end before ONNX had them; inference does not.
_FIRST_NEGATIVE = 11


def _names_last_axes(node: gs.Node, opset: int) -> bool:
    """Inference of old opsets does not count from the end."""
    axes = node.attrs.get("axes", [node.attrs.get("axis", 0)])
    bound = isinstance(axes, gs.Node.AttributeRef)
    return opset < _FIRST_NEGATIVE and (bound or any(_is_negative(axis) for axis in axes))


def _is_negative(axis: object) -> bool:
    return isinstance(axis, gs.Node.AttributeRef) or (isinstance(axis, int) and axis < 0)


def _names_odd_axes(node: gs.Node, opset: int) -> bool:
    """Inference squeezes nothing where the list of axes is empty, and wants it sorted."""
    if _names_last_axes(node, opset):
        return True
    if input_of(node.op, "axes", opset) is None:
        axes = node.attrs.get("axes")  # an empty list is not kept among the attributes
    elif len(node.inputs) < 2 or not node.inputs[1].name:
        return False
    else:
        values = dense_values(node.inputs[1])
        axes = None if values is None else values.reshape(-1).tolist()
    return not axes or any(a >= b for a, b in itertools.pairwise(axes))


def _squeezed(node: gs.Node, view: View) -> RuntimeShape | None:
    axes = read_parameter(node, "axes", view, _values_of(view))
    x = view.shape(node.inputs[0])
    if x is None or not axes.known:
        return None
    if axes.values is not None and axes.values.size:
        gone = normal_axes(axes.values, len(x))
        if gone is None:
            return None
        return RuntimeShape(tuple(size for axis, size in enumerate(x) if axis not in gone))
    known = all(isinstance(size, int) for size in x)
    return RuntimeShape(tuple(size for size in x if size != 1) if known else None)


def _believes_one_branch(node: gs.Node, opset: int) -> bool:
    """Inference before opset 13 gives what one branch gives where of the other nothing is known."""
    return opset < 13


def _branched(node: gs.Node, view: View) -> RuntimeShape | None:
    bodies = subgraphs_of(node)
    shapes = [[view.shape(tensor) for tensor in body.outputs] for body in bodies]
    alike = all(
        of_one is not None and all(other == of_one for other in others)
        for of_one, *others in zip(*shapes, strict=True)
    )
    return None if alike else RuntimeShape(None)


def _unsqueezed(node: gs.Node, view: View) -> RuntimeShape | None:
    axes, x = node.attrs["axes"], view.shape(node.inputs[0])
    if x is None or isinstance(axes, gs.Node.AttributeRef):
        return None
    rank = len(x) + len(axes)
    ones = normal_axes(axes, rank)
    if ones is None:
        return None
    rest = iter(x)
    return RuntimeShape(tuple(1 if axis in ones else next(rest) for axis in range(rank)))


def _joined(node: gs.Node, view: View) -> RuntimeShape | None:
    shapes = [view.shape(tensor) for tensor in node.inputs]
    first, axis = shapes[0], node.attrs["axis"]
    if first is None or not isinstance(axis, int):
        return None
    sizes = [None if one is None else one[axis] for one in shapes]
    known = [size for size in sizes if isinstance(size, int)]
    found = list(first)
    found[axis] = sum(known) if len(known) == len(sizes) else None
    return RuntimeShape(tuple(found))


def _multiplies_names(node: gs.Node, opset: int) -> bool:
    """Inference takes one of the sizes that a letter stands for, where a size of 1 is repeated."""
    return True


def _multiplied(node: gs.Node, view: View) -> RuntimeShape | None:
    equation = str(node.attrs["equation"]).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    shapes = [view.shape(tensor) for tensor in node.inputs]
    if not arrow or "." in equation:
        return None
    sizes: dict[str, set[Dim]] = {}
    for letters, shape in zip(terms.split(","), shapes, strict=False):
        if shape is None or len(shape) != len(letters):
            return None
        for letter, size in zip(letters, shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
    return RuntimeShape(tuple(_repeated(sizes[letter]) for letter in result))


def _repeated(sizes: set[Dim]) -> Dim:
    """Return the size that all of `sizes` are repeated to; None where that is not known."""
    large = [size for size in sizes if isinstance(size, int) and size > 1]
    named = sizes - {1}
    if large or len(named) == 1:
        return large[0] if large else named.pop()
    return None if named else 1


def _repeats_data(node: gs.Node, opset: int) -> bool:
    """Inference gives the sizes of the data, which runtimes repeat for more slopes."""
    return True


def _sloped(node: gs.Node, view: View) -> RuntimeShape | None:
    shapes = [view.shape(tensor) for tensor in node.inputs]
    x, slope = shapes
    if x is None or slope is None:
        return None
    rank = max(len(x), len(slope))
    wide = [(1,) * (rank - len(one)) + one for one in (x, slope)]
    return RuntimeShape(tuple(_repeated(set(sizes)) for sizes in zip(*wide, strict=True)))


def _always(node: gs.Node, opset: int) -> bool:
    """Inference gives the indices of a scalar no row, and does not survive text without a type."""
    return True


def _lacks_axes(node: gs.Node, opset: int) -> bool:
    """Inference of the body wants the axes to be given, which have a default."""
    return "axes" not in node.attrs


def _has_no_inference(node: gs.Node, opset: int) -> bool:
    """Some versions of an operator come without: what follows would have no type either."""
    schema = schema_of(node.op, opset)
    return schema is not None and not schema.has_type_and_shape_inference_function


def _taken(node: gs.Node, view: View) -> RuntimeShape | None:
    """Return what Compress takes: how many, only a run tells."""
    x, axis = view.shape(node.inputs[0]), node.attrs.get("axis")
    if axis is None:
        return RuntimeShape((None,))
    if x is None:
        return RuntimeShape(None)
    axis %= len(x)
    return RuntimeShape((*x[:axis], None, *x[axis + 1 :]))


def _kept(node: gs.Node, view: View) -> RuntimeShape | None:
    return RuntimeShape(view.shape(node.inputs[0]))


def _matched(node: gs.Node, view: View) -> RuntimeShape | None:
    return RuntimeShape(view.shape(node.inputs[0]), np.dtype(bool))


def _nonzero(node: gs.Node, view: View) -> RuntimeShape | None:
    return RuntimeShape((1, None)) if view.rank(node.inputs[0]) == 0 else None


_DOUBTS: dict[str, Callable[[gs.Node, int], bool]] = {
    **dict.fromkeys(POOLS, _rounds_up),
    "ConvTranspose": _pads_by_size,
    "Resize": _has_scales,
    "Upsample": _has_scales,
    "Slice": _has_steps,
    "Range": _counts_floats,
    "Concat": _names_last_axes,
    "Einsum": _multiplies_names,
    "PRelu": _repeats_data,
    "Squeeze": _names_odd_axes,
    "Unsqueeze": _names_last_axes,
    "NonZero": _always,
    "MeanVarianceNormalization": _lacks_axes,
    "RegexFullMatch": _always,
    "Compress": _has_no_inference,
    "GroupNormalization": _has_no_inference,
    "If": _believes_one_branch,
}
_SHAPES: dict[str, Callable[[gs.Node, View], RuntimeShape | None]] = {
    **dict.fromkeys(POOLS, _windowed),
    "ConvTranspose": _windowed,
    "Resize": _resized,
    "Upsample": _resized,
    "Slice": _sliced,
    "Range": _range,
    "Concat": _joined,
    "Einsum": _multiplied,
    "PRelu": _sloped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "NonZero": _nonzero,
    "RegexFullMatch": _matched,
    "MeanVarianceNormalization": _kept,
    "Compress": _taken,
    "GroupNormalization": _kept,
    "If": _branched,
}
