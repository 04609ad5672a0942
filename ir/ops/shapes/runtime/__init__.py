"""Shapes that ONNX's inference and ONNX Runtime see differently: the latter's.

Inference lets a window of `ceil_mode` start in the pad at the end, multiplies sizes and scales in
another precision, forgets the output padding of a padded ConvTranspose, takes the ends of a Slice
backwards for others, leaves an empty list of axes alone where runtimes squeeze all, does not count
axes from the end below opset 11, takes any number for a yes where runtimes want 1, takes what one
branch gives for what both do, and has one name for the sizes of all elements of a sequence. What a
kernel writes is what counts. (onnx 1.23, ONNX Runtime 1.32.)
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import onnx_graphsurgeon as gs

from ....graph.view import View
from ...parameters import read_parameter
from ...traits.groups import POOLS, REDUCTIONS
from . import axes, broadcasts, missing, slices, windows
from .rule import RuntimeShape, values_of

# Inference steps through a list of sizes in an `int`, which overflows, and reads out of bounds.
_LARGEST_STEP = 1 << 30
# Whether inference is to be believed, constants say.
_BY_CONSTANTS = frozenset({"Range", "Slice", "Squeeze"})
_NOT_SEEN = frozenset({"GatherND", "MeanVarianceNormalization", "RegexFullMatch"})
_BOUNDS = ("starts", "ends", "axes", "steps")

_RULES = {
    **dict.fromkeys(POOLS, windows.POOL),
    "ConvTranspose": windows.CONV_TRANSPOSE,
    "Resize": windows.RESIZE,
    "Upsample": windows.RESIZE,
    "Slice": slices.SLICE,
    "Range": slices.RANGE,
    "Concat": axes.CONCAT,
    **dict.fromkeys(REDUCTIONS, axes.REDUCTION),
    "Squeeze": axes.SQUEEZE,
    "Unsqueeze": axes.UNSQUEEZE,
    "Einsum": broadcasts.EINSUM,
    "PRelu": broadcasts.PRELU,
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), missing.WINDOW),
    "MelWeightMatrix": missing.MEL_WEIGHT_MATRIX,
    "MaxUnpool": missing.MAX_UNPOOL,
    "STFT": missing.STFT,
    "NonZero": missing.NONZERO,
    "RegexFullMatch": missing.REGEX_FULL_MATCH,
    "MeanVarianceNormalization": missing.MEAN_VARIANCE_NORMALIZATION,
    "Compress": missing.COMPRESS,
    "GroupNormalization": missing.GROUP_NORMALIZATION,
    "If": missing.IF,
    "SequenceAt": missing.SEQUENCE_AT,
    "GatherND": missing.GATHER_ND,
}


def is_doubted(node: gs.Node, opset: int, given: AbstractSet[int] = frozenset()) -> bool:
    """Say whether inference may get the shape of the result of a standard `node` wrong.

    In a function's body, where an attribute is what a call gives, it may, and where what looks like
    a constant is the default of an input of the graph, one of `given` by id.
    """
    rule = _RULES.get(node.op)
    if rule is None:
        return False
    told = node.op in _BY_CONSTANTS and any(id(tensor) in given for tensor in node.inputs)
    return told or rule.doubts(node, opset)


def runtime_shape(node: gs.Node, view: View) -> RuntimeShape | None:
    """Return the shape of the results of a doubted node; None where inference is to be believed."""
    try:
        return _RULES[node.op].shape(node, view)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return RuntimeShape(None)  # a parameter does not fit the operator


def misleads_inference(node: gs.Node, view: View) -> bool:
    """Say whether inference must not see `node`.

    It reads out of bounds behind a long step, and of a list of sizes that is cut where only a run
    tells, it takes the whole for what is left. A match of text without a type and a batch that is
    counted from behind end the process, and of a normalization without axes it has no body from
    opset 13 on.
    """
    if node.op != "Slice":
        return node.op in _NOT_SEEN
    found = [read_parameter(node, name, view, values_of(view)) for name in _BOUNDS]
    if not all(parameter.known for parameter in found):
        return True
    return any(abs(step) > _LARGEST_STEP for step in found[-1].ints() or ())
