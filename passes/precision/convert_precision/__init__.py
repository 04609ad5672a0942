"""Store and compute in 16-bit floats what float32 is not needed for.

    y = f(x, w)  ->  y = Cast_32(f(Cast_16(x), w'))       w' = round(w), half the bytes

                 digits   largest    smallest normal
    float16        11     65504      6.1e-5             relative error 4.9e-4
    bfloat16        8     3.4e38     1.2e-38            relative error 3.9e-3

Inputs and outputs of the graph keep their types, unless `keep-io=false`. `compute=half` makes
whole regions narrow, with one Cast a tensor where they end; `compute=float32` narrows constants
only, with a Cast after each, which runtimes compute once, when they load the model: as small, as
exact as rounded weights can be, and the speed of float32.

What runtimes make of it: ONNX Runtime's CPU kernels for float16 are few. It computes in float32 and
leaves the inner Casts out, so convolutions and Gemm take as long as in float32 (0.9 to 1.06
measured, weights widened at loading), lone operators 1.2 and Softmax 1.8 times as long. Of bfloat16
it knows the Cast alone: `auto` is `float32` for bfloat16 on the CPU, `half` otherwise.

Source: "Mixed Precision Training" (Micikevicius et al., 2018), for what is kept in float32: sums
over many elements, and powers, whose results leave the range of float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.counted import counted
from ....ir.core.variables import is_standard
from ....ir.graph.uses import scopes
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.node_names import check_node_names
from ...engine.reasons import reasons_in_short
from ...fusion.inline_fused_operators import inline_fused_operators
from ...opset.convert_opset import ensure_opset
from .converter import PrecisionConverter
from .groups import AGNOSTIC
from .interface import narrow_interface
from .overflow_check import find_overflowing
from .plan import NarrowingLimits, NarrowingPlan, make_plan
from .weights import narrow_weights, remark_lost

# Sums and exponents leave the range of float16 first: a default that people may change.
KEPT = (
    *("CumSum", "Exp", "LogSoftmax", "Pow", "ReduceL1", "ReduceL2", "ReduceLogSum"),
    *("ReduceLogSumExp", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax"),
)
_TYPES = {"bfloat16": int(onnx.TensorProto.BFLOAT16), "float16": int(onnx.TensorProto.FLOAT16)}
# The opsets at which many operators took bfloat16: arithmetic, and convolutions.
_OPSETS_OF_BFLOAT16 = (13, 22)


@dataclass(frozen=True)
class ConvertPrecision(Pass):
    """Make float32 constants, and what is computed with them, float16 or bfloat16.

    Nodes whose values come near the largest float16 on the feeds, or on random numbers without any,
    stay float32 too, those in bodies of If, Loop and Scan apart, which feeds do not show. What goes
    into bodies and comes out of them, local functions, and operators between quantizers stay
    float32.

    - `to`: the type that constants get.
    - `compute`: `half` makes whole regions narrow; `float32` narrows constants only, with a Cast
      after each; `auto` is `float32` for bfloat16 on the CPU and `half` otherwise.
    - `keep-io`: inputs and outputs of the graph keep their types; without it they are narrow too,
      which they become at the end of the pipeline, when all is verified.
    - `exclude`: names of nodes that stay float32.
    - `keep`: operators that stay float32.
    """

    name: ClassVar[str] = "convert-precision"
    exact: ClassVar[bool] = False
    to: Literal["float16", "bfloat16"] = "float16"
    compute: Literal["auto", "half", "float32"] = "auto"
    keep_io: bool = True
    exclude: tuple[str, ...] = ()
    keep: tuple[str, ...] = KEPT

    def finish(self, graph: gs.Graph, context: Context) -> None:
        """Make inputs and outputs narrow, where that is asked for."""
        if not self.keep_io:
            dtype = dtypes.numpy_dtype(_TYPES[self.to])
            with context.editing() as edit:
                narrow_interface(graph, context.view(), edit, dtype)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Convert `graph` and its bodies, after raising the opset where more converts then."""
        inline_fused_operators(graph, context)
        check_node_names(graph, "exclude", self.exclude)
        if not self.keep_io:
            context.remark(f"inputs and outputs become {self.to} at the end of the pipeline")
        dtype = dtypes.numpy_dtype(_TYPES[self.to])
        on_cpu = context.target.partition("{")[0] == "cpu"
        limits = NarrowingLimits(
            dtype=dtype,
            kind=self.to,
            exclude=self.exclude,
            keep=self.keep,
            # Of CPUs that have instructions for it, runtimes use those for bfloat16.
            faster=LAYERS if self.to == "bfloat16" or not on_cpu else (),
        )
        compute = self.compute
        if compute == "auto":
            compute = "float32" if on_cpu and self.to == "bfloat16" else "half"
        if compute == "float32":
            narrow_weights(graph, context, limits)
            return
        plans = self._plans(graph, context, limits)
        if self.to == "float16" and _count(plans):
            too_large = find_overflowing(graph, context, dtype)
            if too_large:
                fed = "the feeds" if context.feeds is not None else "random numbers"
                limits = replace(limits, too_large=too_large, fed=fed)
                plans = self._plans(graph, context, limits)
        for plan in plans:
            for node, reason in plan.declined:
                context.decline(node, reason)
        if _count(plans):
            self._convert(graph, context, plans)
            self._remark(plans, context, on_cpu)

    def _plans(
        self, graph: gs.Graph, context: Context, limits: NarrowingLimits
    ) -> list[NarrowingPlan]:
        """Return what becomes narrow in the graph and in each of its bodies."""

        def planned(opset: int) -> list[NarrowingPlan]:
            return [make_plan(context.view(scope), opset, limits) for scope in scopes(graph)]

        plans = planned(graph.opset)
        if self.to == "float16":
            return plans
        for opset in _OPSETS_OF_BFLOAT16:
            if opset <= graph.opset:
                continue
            gain = _count(planned(opset)) - _count(plans)
            if gain > 0 and ensure_opset(graph, context, opset):
                context.remark(f"opset {opset} has bfloat16 for {counted(gain, 'node')} more")
                plans = planned(opset)
        return plans

    def _convert(self, graph: gs.Graph, context: Context, plans: Sequence[NarrowingPlan]) -> None:
        dtype = dtypes.numpy_dtype(_TYPES[self.to])
        total, done = _count(plans), 0
        views = [context.view(scope) for scope in scopes(graph)]
        with context.editing() as edit:
            for view, plan in zip(views, plans, strict=True):
                others = [n for n in view.scope.nodes if is_standard(n) and n.op in AGNOSTIC]
                converter = PrecisionConverter(edit, view, dtype, plan.constants)
                for node, slots in plan.nodes:
                    context.progress(done / total)
                    done += 1
                    if not edit.begin():
                        return
                    converter.convert(node, slots)
                for node in others:
                    converter.read_narrow(node)

    def _remark(self, plans: Sequence[NarrowingPlan], context: Context, on_cpu: bool) -> None:
        size = sum(array.nbytes for plan in plans for array in plan.constants.values())
        context.remark(
            f"{counted(_count(plans), 'node')} became {self.to}, with {2 * size / 1e6:.1f} MB of "
            f"constants that take {size / 1e6:.1f} MB now"
        )
        left = reasons_in_short(context.declined)
        if left:
            context.remark(f"other nodes stay float32: {left}")
        remark_lost(sum(plan.lost for plan in plans), self.to, context)
        if on_cpu and self.to == "float16":
            context.remark(
                "ONNX Runtime computes most of these in float32 on a CPU: the file is smaller, the "
                "speed the same at best; compute=float32 is as small, without Casts at the borders"
            )
        elif on_cpu:
            context.remark(
                "ONNX Runtime has no bfloat16 kernels for a CPU and does not load this graph there;"
                " compute=float32 runs"
            )


def _count(plans: Sequence[NarrowingPlan]) -> int:
    return sum(len(plan.nodes) for plan in plans)
