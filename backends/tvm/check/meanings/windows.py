"""Windows of single channels: depthwise convolutions of floats, pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.global_pooling import GlobalPooling
from ...kernels.windows import Windows
from ...spec.layout import Array
from ..draw import Draw, deviation_of, fan_in, in_blocks
from ..onnx_layers import run_layer
from .meaning import Meaning, meaning_of


@meaning_of.register
def _windows(op: Windows, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, 1.0 if op.kind == "depthwise" else draw.size)
    along = {"pads": op.pads, "strides": op.strides}
    if op.kind == "depthwise":
        shape = (op.y.channels, 1, *op.kernel)
        weight = draw.normal(shape, draw.size / (deviation_of(x) * fan_in(shape) ** 0.5))
        draw.args.append(in_blocks(weight[:, 0], op.y))
        value = run_layer(
            "Conv",
            [x, weight],
            op.y.rank,
            dilations=op.dilations,
            group=op.y.channels,
            **along,  # type: ignore[arg-type]
        )
    elif op.kind == "max":
        value = run_layer("MaxPool", [x], op.y.rank, kernel_shape=op.kernel, **along)  # type: ignore[arg-type]
    else:
        value = run_layer(
            "AveragePool",
            [x],
            op.y.rank,
            kernel_shape=op.kernel,
            count_include_pad=int(op.counts_pads),
            **along,  # type: ignore[arg-type]
        )
    return Meaning(value=cut(value, (0, 0, 0), op.y.spatial))


@meaning_of.register
def _global_pooling(op: GlobalPooling, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size * (np.prod(op.x.spatial) ** 0.5 if op.kind == "mean" else 1.0))
    name = "GlobalAveragePool" if op.kind == "mean" else "GlobalMaxPool"
    return Meaning(value=run_layer(name, [x], op.x.rank))


def cut(values: Array, starts: Sequence[int], ends: Sequence[int]) -> Array:
    """Return a view of [N, C, D, H, W] between positions."""
    first, second, third = (slice(a, b) for a, b in zip(starts, ends, strict=True))
    return values[:, :, first, second, third]
