"""A bias for the convolution inside a fused operator.

W * x = W * x + 0, and the zeros are written: ONNX Runtime inlines a fused operator with an absent
bias as `Conv(x, W, "")`, which its layout for vectors passes over (1.31 and 1.32; DenseNet-121 took
1.5 times as long on 1.31).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.graph.edit import Edit
from ...ir.graph.parts import set_restored
from ...ir.ops.fused.operators import Fused
from ...ir.ops.linear.operators import CONV_OPS


def with_bias(
    edit: Edit,
    fused: Fused,
    inputs: Sequence[gs.Tensor],
    attrs: Mapping[str, Any],
    *,
    restored: bool,
) -> list[gs.Tensor]:
    """Return the inputs (x, weight, bias, ...) of a fused operator, an empty bias made explicit."""
    x, weight, bias, *rest = inputs
    if fused.linear.op in CONV_OPS:
        group = int(attrs["group"])
        bias = explicit_bias(edit, fused.linear.op, weight, bias, group, restored=restored)
    return [x, weight, bias, *rest]


def explicit_bias(
    edit: Edit, op: str, weight: gs.Tensor, bias: gs.Tensor, group: int, *, restored: bool
) -> gs.Tensor:
    """Return `bias`, or zeros [M] of the type of `weight` where it is empty.

    `op` is Conv or ConvTranspose, `weight` [M, C/group, k...] or [C, M/group, k...]. An empty bias
    stays where the weight is computed, so that its type is not at hand. `restored`: the operator
    only comes back from where a portable file spells it out.
    """
    if not bias.is_empty() or not isinstance(weight, gs.Constant):
        return bias
    channels = weight.shape[0] if op == "Conv" else weight.shape[1] * group
    zeros = np.zeros(channels, dtypes.numpy_dtype(weight.dtype))
    made = edit.constant(zeros, f"{weight.name}_bias")
    if restored:
        set_restored(made)
    return made
