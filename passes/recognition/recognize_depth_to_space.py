"""Recognize DepthToSpace and SpaceToDepth, spelled as Reshape, Transpose, Reshape.

[N, C, r, r, H, W] -> [N, C, H, r, W, r]        DepthToSpace, CRD (PyTorch's PixelShuffle)
[N, r, r, C, H, W] -> [N, C, H, r, W, r]        DepthToSpace, DCR (TensorFlow's depth_to_space)
[N, C, H, r, W, r] -> [N, r, r, C, H, W]        SpaceToDepth

One operator copies what three copy and reshape: half the time on ONNX Runtime. PyTorch's
PixelUnshuffle orders its channels [C, r, r], for which ONNX has no operator; it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.graph.types import Shape
from ...ir.graph.view import View
from ...ir.ops.opsets import has_attribute
from ..engine.rewrite import Rewrite, RewritePass
from .expressions import need_private, producer_of
from .replacement import Recognition, RecognizedOperator


@dataclass(frozen=True)
class RecognizeDepthToSpace(RewritePass):
    """Write DepthToSpace or SpaceToDepth for Reshape, Transpose, Reshape that do the same.

    The sizes must be static; the batch need not.
    """

    name: ClassVar[str] = "recognize-depth-to-space"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_BlockShuffle(),)


class _BlockShuffle(Recognition):
    ops = frozenset({"Reshape"})

    def match(self, node: gs.Node, view: View) -> RecognizedOperator | None:
        transpose = producer_of(node.inputs[0], view, "Transpose")
        if transpose is None:
            return None
        perm = transpose.attrs.get("perm")
        first = producer_of(transpose.inputs[0], view, "Reshape")
        if first is None or not isinstance(perm, list) or tuple(perm) not in _KINDS:
            return None
        sizes = need(view.shape(first.outputs[0]), "the shape between is not known")
        source = need(view.shape(first.inputs[0]), "the shape of its input is not known")
        result = need(view.shape(node.outputs[0]), "the shape of its result is not known")
        if len(source) != 4 or len(result) != 4:
            return None
        need(
            all(isinstance(size, int) for size in (*sizes[1:], *source[1:], *result[1:])),
            "its channels or positions are not static",
        )
        op, mode = _KINDS[tuple(perm)]
        block = _block(op, mode, sizes, source, result)  # so that the batch is what it was
        if block is None:
            return None
        dtype = view.dtype(first.inputs[0])
        need(dtype is not None and dtype.kind == "f", f"ONNX Runtime has {op} of floats alone")
        attrs: dict[str, Any] = {"blocksize": block}
        if has_attribute(op, "mode", view.opset) and op == "DepthToSpace":
            attrs["mode"] = mode
        need(mode != "CRD" or "mode" in attrs, "DepthToSpace has its CRD mode from opset 11 on")
        nodes = need_private((transpose, first), node, view)
        return RecognizedOperator(op, (first.inputs[0],), nodes, attrs)


# By permutation: the operator and where channels stand among the blocks.
_KINDS = {
    (0, 1, 4, 2, 5, 3): ("DepthToSpace", "CRD"),
    (0, 3, 4, 1, 5, 2): ("DepthToSpace", "DCR"),
    (0, 3, 5, 1, 2, 4): ("SpaceToDepth", ""),
}


def _block(op: str, mode: str, sizes: Shape, source: Shape, result: Shape) -> int | None:
    """Return the block size, if the six sizes say that each step splits and joins as it should."""
    if op == "SpaceToDepth":
        _, c, h, r, w, s = sizes
    elif mode == "CRD":
        _, c, r, s, h, w = sizes
    else:
        _, r, s, c, h, w = sizes
    sizes_ = [int(v) for v in (c, h, r, w, s) if isinstance(v, int)]
    if len(sizes_) != 5:
        return None
    c, h, r, w, s = sizes_
    deep, wide = (c * r * r, h, w), (c, h * r, w * r)
    expected = (deep, wide) if op == "DepthToSpace" else (wide, deep)
    return r if r == s and (tuple(source[1:]), tuple(result[1:])) == expected else None
