"""Operators that inference knows nothing of, or not enough: some versions come without."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....core.variables import subgraphs_of
from ....graph.view import View
from ...axes.batch import batch_is_counted_from_behind
from ...traits import attribute
from ...traits.schemas import schema_of
from .rule import Rule, RuntimeShape, values_of


def _always(node: gs.Node, opset: int) -> bool:
    """Inference gives the indices of a scalar no row, and does not survive text without a type.

    Where only a run tells the length of a window or the steps of an STFT, it gives no rank. All
    elements of a sequence have the same unknown sizes to it.
    """
    return True


def _lacks_axes(node: gs.Node, opset: int) -> bool:
    """Inference of the body wants the axes to be given, which have a default."""
    return "axes" not in node.attrs


def _counts_from_behind(node: gs.Node, opset: int) -> bool:
    """Inference does not survive a batch that is counted from the last axis."""
    return batch_is_counted_from_behind(node)


def _of_no_size(node: gs.Node, view: View) -> RuntimeShape | None:
    return RuntimeShape(None)


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


def _window(node: gs.Node, view: View) -> RuntimeShape | None:
    return RuntimeShape((_number(node, 0, view),))


def _mel_weights(node: gs.Node, view: View) -> RuntimeShape | None:
    bins, length = (_number(node, position, view) for position in (0, 1))
    return RuntimeShape((None if length is None else length // 2 + 1, bins))


def _spectrum(node: gs.Node, view: View) -> RuntimeShape | None:
    signal, step, length = view.shape(node.inputs[0]), _number(node, 1, view), _length(node, view)
    if signal is None:
        return RuntimeShape((None, None, None, 2))
    frames = None
    if isinstance(signal[1], int) and step and length is not None:
        frames = (signal[1] - length) // step + 1
    bins = length
    if length is not None and attribute(node, "onesided", view.opset):
        bins = length // 2 + 1
    return RuntimeShape((signal[0], frames, bins, 2))


def _length(node: gs.Node, view: View) -> int | None:
    """Return how many numbers of a signal each spectrum of an STFT is of."""
    if len(node.inputs) > 3 and not node.inputs[3].is_empty():
        return _number(node, 3, view)
    (length,) = view.shape(node.inputs[2]) or (None,)
    return length if isinstance(length, int) else None


def _has_sizes(node: gs.Node, opset: int) -> bool:
    """Inference of sizes that are an input gives no rank."""
    return len(node.inputs) > 2 and not node.inputs[2].is_empty()


def _unpooled(node: gs.Node, view: View) -> RuntimeShape | None:
    sizes, rank = values_of(view)(node.inputs[2]), view.rank(node.inputs[0])
    if sizes is not None:
        return RuntimeShape(tuple(map(int, sizes)))
    return RuntimeShape(None if rank is None else (None,) * rank)


def _number(node: gs.Node, position: int, view: View) -> int | None:
    values = values_of(view)(node.inputs[position])
    return None if values is None else int(values.reshape(-1)[0])


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


def _element(node: gs.Node, view: View) -> RuntimeShape | None:
    """Return the shape of an element without names: inference has one name for all elements'."""
    shape = view.shape(node.outputs[0])
    if shape is None:
        return None
    return RuntimeShape(tuple(size if isinstance(size, int) else None for size in shape))


NONZERO = Rule(_always, _nonzero)
STFT = Rule(_always, _spectrum)
MAX_UNPOOL = Rule(_has_sizes, _unpooled)
MEL_WEIGHT_MATRIX = Rule(_always, _mel_weights)
WINDOW = Rule(_always, _window)
REGEX_FULL_MATCH = Rule(_always, _matched)
MEAN_VARIANCE_NORMALIZATION = Rule(_lacks_axes, _kept)
COMPRESS = Rule(_has_no_inference, _taken)
GROUP_NORMALIZATION = Rule(_has_no_inference, _kept)
IF = Rule(_believes_one_branch, _branched)
SEQUENCE_AT = Rule(_always, _element)
GATHER_ND = Rule(_counts_from_behind, _of_no_size)
