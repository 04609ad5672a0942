"""Whether a tensor has elements wherever a run comes to it, sizes that are open included.

    a convolution of n positions gives  (n + pads - reach) / stride + 1  of them, and at least one

ONNX Runtime refuses a convolution or pooling of no channels or positions; of the samples of a batch
there may be none. A reduction of nothing it computes. So what did not slide a window, or pool, may
do so afterwards only where it meets none, which a convolution before it makes certain.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN, is_standard
from ...graph.view import View
from ..traits import operators_with, traits_of
from ..traits.groups import LAYERS
from ..traits.recognized import read_name
from .attributes import WindowAttributes, pool_window

_CONVOLUTIONS = LAYERS & operators_with(lambda traits: traits.windowed)
_MOST_NODES = 64


def has_elements(tensor: gs.Tensor, view: View) -> bool:
    """Say whether every sample of `tensor` has elements: its axes behind the first are not empty.

    Sizes tell, or the operators before it, through which a run without any would not have come.
    False where that is not known.
    """
    pending, seen = [tensor], set()
    while pending:
        asked = pending.pop()
        if id(asked) in seen or _is_filled(asked, view):
            continue
        seen.add(id(asked))
        sources = None if len(seen) > _MOST_NODES else _sources(asked, view)
        if sources is None:
            return False
        pending += sources
    return True


def gives_elements(window: WindowAttributes) -> bool:
    """Say whether a pool with this window gives a position wherever it reads one."""
    if window.is_automatic or window.ceil:
        return window.is_automatic
    # Rounded towards zero, as ONNX Runtime divides.
    spans = zip(window.reaches, window.begins, window.ends, window.strides, strict=True)
    return all(reach - begin - end - 1 < stride for reach, begin, end, stride in spans)


def _is_filled(tensor: gs.Tensor, view: View) -> bool:
    shape = view.shape(tensor)
    return shape is not None and all(isinstance(size, int) and size > 0 for size in shape[1:])


def _sources(tensor: gs.Tensor, view: View) -> list[gs.Tensor] | None:
    """Return the tensors that decide whether `tensor` has elements; None where none are known."""
    shape, node = view.shape(tensor), view.producer(tensor)
    if node is None or shape is None or 0 in shape[1:]:
        return None
    if _is_convolution(node):
        return []
    if node.op == "Concat" and is_standard(node):
        return list(node.inputs)
    traits = traits_of(node, view.opset)
    if traits.elementwise:
        operands = [node.inputs[place] for place in traits.operands_of(len(node.inputs))]
        open_ones = [operand for operand in operands if not _is_static(operand, view)]
        # Those of lower rank align from the end.
        aligned = all(view.rank(operand) == len(shape) for operand in open_ones)
        return open_ones if aligned else None
    kept = traits.pooling and (not traits.windowed or gives_elements(pool_window(node)))
    return [node.inputs[0]] if traits.keeps_shape or kept else None


def _is_static(tensor: gs.Tensor, view: View) -> bool:
    shape = view.shape(tensor)
    return shape is not None and all(isinstance(size, int) and size > 0 for size in shape)


def _is_convolution(node: gs.Node) -> bool:
    """Say whether `node` ends in a convolution, with what is fused behind it but for a pool."""
    parts = read_name(str(node.op)) if node.domain == FUSED_DOMAIN else None
    if parts is not None:
        return parts.layer in _CONVOLUTIONS and not parts.pool
    return is_standard(node) and node.op in _CONVOLUTIONS
