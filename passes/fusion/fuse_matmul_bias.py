"""Write the product of matrices and the addition of a bias as one Gemm.

    A @ B + C = Gemm(A, B, C)

ONNX operators MatMul and Gemm: the same product for two matrices, where C broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.opsets import aligns
from ..engine.rewrite import Rewrite, RewritePass


@dataclass(frozen=True)
class FuseMatmulBias(RewritePass):
    """Write a MatMul of two matrices and the Add of a constant bias as one Gemm.

    Which is what other exporters write, and what later fusions look for. ONNX Runtime does the
    same, so that it is no faster there.
    """

    name: ClassVar[str] = "fuse-matmul-bias"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_FuseBias(),)


@dataclass(frozen=True)
class _BiasedMatMul:
    matmul: gs.Node
    add: gs.Node
    bias: gs.Tensor


class _FuseBias(Rewrite[_BiasedMatMul]):
    ops = frozenset({"Add"})

    def match(self, node: gs.Node, view: View) -> _BiasedMatMul | None:
        if not is_standard(node):
            return None
        for position in (0, 1):
            matmul = view.producer(node.inputs[position])
            bias = node.inputs[1 - position]
            if (
                matmul is not None
                and matmul.op == "MatMul"
                and is_standard(matmul)
                and view.is_constant(bias)
            ):
                _check(matmul, node, bias, view)
                return _BiasedMatMul(matmul, node, bias)
        return None

    def rewrite(self, site: _BiasedMatMul, edit: Edit) -> None:
        edit.remove(site.add)
        edit.remove(site.matmul)
        inputs = [*site.matmul.inputs, site.bias]
        edit.node("Gemm", inputs, [site.add.outputs[0]], at=site.matmul)


def _check(matmul: gs.Node, add: gs.Node, bias: gs.Tensor, view: View) -> None:
    need(aligns("Gemm", view.opset), "Gemm broadcasts its bias only from opset 7 on")
    need(view.read_only_by(matmul.outputs[0], add), "the result of MatMul has other readers")
    need(
        all(view.rank(tensor) == 2 for tensor in matmul.inputs),
        "MatMul is not known to multiply two matrices",
    )
    dtype = view.dtype(bias)
    need(dtype is not None and dtypes.is_float(dtype), "its bias is not a float")
    shape, columns = view.shape(bias), view.shape(matmul.inputs[1])
    need(
        shape is not None
        and columns is not None
        and len(shape) <= 2
        and all(size == 1 for size in shape[:-1])
        and shape[-1:] in ((), (1,), columns[1:]),
        "its bias is not one value a column",
    )
