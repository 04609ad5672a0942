"""Integer products with activations quantized as they come.

    x_q, s_x, z_x = DynamicQuantizeLinear(x)          uint8, one scale a tensor, found at every run
    y = s_x s_w (x_q - z_x) w_q + b                   w_q int8, one scale a column

No feeds are needed, and no range can be wrong. ONNX Runtime fuses the five operators to one
(DynamicQuantizeMatMul). One scale covers the whole input, so a sample's result depends, within
rounding, on what else is in its batch.

Convolutions are left alone: ConvInteger has neither ONNX Runtime's blocked layout nor a fused form,
and takes four times as long as the float convolution and more.

Source: ONNX operators DynamicQuantizeLinear (opset 11) and MatMulInteger (opset 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard, node_key
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.opsets import has_operator
from ...ir.ops.traits.groups import LAYERS, RECURRENT
from ..engine.context import Context
from ..engine.rewrite import Rewrite, RewritePass, drive
from ..fusion.inline_fused_operators import inline_fused_operators
from .grids.blocks import Blocks, fit_grid
from .grids.formats import IntegerFormat
from .instruction_set import SAFE_BITS, saturates, seven_bits

Array = np.ndarray[Any, Any]
_FLOAT = int(onnx.TensorProto.FLOAT)


@dataclass(frozen=True)
class QuantizeDynamically(RewritePass):
    """Compute Gemm and MatMul of constant weights in integers, quantizing inputs as they come.

    - `bits`: of the weights; without it 8, or 7 where the target's products saturate, as those of
      CPUs without VNNI do.
    - `least`: weights of fewer values stay float: there, quantizing costs more than the product.
    - `operators`: operators to look at.
    - `exclude`: names of nodes to leave alone.
    """

    name: ClassVar[str] = "quantize-dynamically"
    exact: ClassVar[bool] = False
    settles: ClassVar[bool] = True
    bits: Literal[7, 8] | None = None
    least: int = 1 << 16
    operators: tuple[Literal["Gemm", "MatMul"], ...] = ("Gemm", "MatMul")
    exclude: tuple[str, ...] = ()

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite."""
        return (_Dynamic(self),)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Open fused operators, then quantize."""
        inline_fused_operators(graph, context)
        reduced = self.bits is None and saturates(context.target)
        before = context.edits
        drive(graph, [_Dynamic(replace(self, bits=SAFE_BITS) if reduced else self)], context)
        if reduced and context.edits > before:
            context.remark(seven_bits("bits=8"))


@dataclass(frozen=True)
class _DynamicProduct:
    node: gs.Node
    weight: Array  # [K, N], alpha multiplied in
    bias: gs.Tensor | None
    beta: float
    type: TensorType | None


class _Dynamic(Rewrite[_DynamicProduct]):
    # Of Conv and recurrent layers, to say why they are left alone.
    ops = (LAYERS - {"ConvTranspose"}) | RECURRENT

    def __init__(self, options: QuantizeDynamically) -> None:
        self._options = options

    def match(self, node: gs.Node, view: View) -> _DynamicProduct | None:
        if not is_standard(node):
            return None
        need(node.op != "Conv", "convolutions on integers need ranges: `quantize` calibrates them")
        need(
            node.op not in RECURRENT,
            "ONNX has no integer operator for it; `quantize-weights` makes its weights integers",
        )
        options = self._options
        need(node.op in options.operators, f"operators does not name {node.op}")
        need(node_key(node) not in options.exclude, "it is excluded")
        known = has_operator("DynamicQuantizeLinear", view.opset)
        need(known, f"opset {view.opset} has no DynamicQuantizeLinear; it came with 11")
        weight = need(view.constant(node.inputs[1]), "its weight is not constant")
        need(weight.ndim == 2, "its weight is no matrix")
        need(weight.dtype == np.float32, f"its weight is {weight.dtype.name}, not float32")
        need(
            weight.size >= options.least,
            f"its weight has {weight.size} values, and below {options.least} quantizing the input "
            "costs more than it saves",
        )
        attrs = node.attrs
        need(not attrs.get("transA", 0), "its input is transposed")
        need(bool(np.isfinite(weight).all()), "its weight holds NaN or infinity")
        biased = node.op == "Gemm" and len(node.inputs) > 2 and bool(node.inputs[2].name)
        if attrs.get("transB", 0):
            weight = weight.T
        return _DynamicProduct(
            node,
            weight * np.float32(attrs.get("alpha", 1.0)),
            node.inputs[2] if biased else None,
            float(attrs.get("beta", 1.0)),
            view.type(node.outputs[0]),
        )

    def rewrite(self, site: _DynamicProduct, edit: Edit) -> None:
        node, x, y = site.node, site.node.inputs[0], site.node.outputs[0]
        name = node.inputs[1].name
        grid = fit_grid(
            site.weight, IntegerFormat(self._options.bits or 8, True, True), Blocks(1), search="max"
        )
        integers = edit.constant(grid.quantize(site.weight), f"{name}_quantized")
        scales = edit.constant(grid.scale, f"{name}_scale")
        shape = None if site.type is None else site.type.shape
        real = TensorType(np.dtype(np.float32), shape)

        def result(part: str, like: TensorType | None = real) -> gs.Variable:
            return edit.variable(f"{y.name}_{part}", like)

        edit.remove(node)
        scalar = TensorType(np.dtype(np.float32), ())
        xq, zero = result("input", None), result("zero_point", TensorType(np.dtype(np.uint8), ()))
        step, both = (
            result("step", scalar),
            result("scale", TensorType(scalar.dtype, grid.scale.shape)),
        )
        whole, cast = result("sum", TensorType(np.dtype(np.int32), shape)), result("real")
        edit.node("DynamicQuantizeLinear", [x], [xq, step, zero], at=node)
        edit.node("MatMulInteger", [xq, integers, zero], [whole], at=node)
        edit.node("Cast", [whole], [cast], {"to": _FLOAT}, at=node)
        edit.node("Mul", [step, scales], [both], at=node)
        if site.bias is None:
            edit.node("Mul", [cast, both], [y], at=node)
            return
        product = result("product")
        edit.node("Mul", [cast, both], [product], at=node)
        edit.node("Add", [product, self._bias(site, edit)], [y], at=node)

    def _bias(self, site: _DynamicProduct, edit: Edit) -> gs.Tensor:
        bias = site.bias
        assert bias is not None
        if site.beta == 1.0:
            return bias
        if isinstance(bias, gs.Constant) and id(bias) not in edit.uses.interface_inputs:
            return edit.constant(bias.values * np.float32(site.beta), f"{bias.name}_scaled")
        scaled = edit.variable(f"{bias.name}_scaled")
        beta = edit.constant(np.asarray(site.beta, np.float32), "beta")
        edit.node("Mul", [bias, beta], [scaled], at=site.node)
        return scaled
