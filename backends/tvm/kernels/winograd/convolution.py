"""Winograd convolution: a tile of results costs one product for each of its points.

    y[m, tile] = A^T (sum over c of (G w[m, c] G^T) * (B^T x[c, tile] B)) A    (on two axes)

Transforming a whole image at once would move many times its size through memory, and transformed
weights are several times as large as the weights. So a thread takes a group of tiles through all
steps while they stay in its cache, and transforms the weights on the way, which costs as many
cycles as reading them transformed would: first the inputs of all channels; then, a few output
blocks at a time, weights and products, for each point one small matrix product; then the sums, and
the epilogue that follows them, straight to where they belong.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ...spec.layout import Array
from ..bfloat16 import HALF
from ..convolution import ConvolutionForm
from ..elements import FLOAT
from ..epilogue import Epilogue
from ..frame import function, operand, weights
from ..loops import parallel
from ..padding import padded
from ..tiles import Sizes, start_of_tile
from .steps import WinogradPlan, WinogradSteps, tiles_of
from .transforms import Transform


@dataclass(frozen=True)
class Winograd(ConvolutionForm):
    """A convolution of stride 1 without dilation, in tiles of `results` along each axis.

    No axis of the result is shorter than a tile. Fewer multiply-adds are done than are counted.
    """

    results: Sizes
    plan: WinogradPlan

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the packed weights: [M blocks, C blocks, C lanes, k, k, k, M lanes]."""
        outs, ins, *kernel, channels, lanes = self.conv.weight_shape
        return (outs, ins, channels, *kernel, lanes)

    @property
    def weight_dtype(self) -> str:
        """Type that weights are kept in: what is computed with is float32."""
        return HALF if self.conv.x.dtype == HALF else FLOAT

    @property
    def is_direct(self) -> bool:
        """Say that the multiply-adds are not what is done."""
        return False


def pack(op: Winograd, weights: Array) -> Array:
    """Return weights packed for `Convolution` in the order that they are transformed in."""
    kept = weights.astype(ml_dtypes.bfloat16) if op.weight_dtype == HALF else weights
    return np.ascontiguousarray(np.moveaxis(kept, 5, 2))


def winograd(op: Winograd) -> Any:
    """Return the function (x, w, operands of the epilogue..., y)."""
    conv, plan = op.conv, op.plan
    along = tuple(Transform(m, r) for m, r in zip(op.results, conv.kernel, strict=True))
    with function("winograd", conv.batch) as frame:
        x = operand(frame, "X", conv.x)
        w = weights("W", op.weight_shape, op.weight_dtype)
        epilogue = Epilogue.declare(frame, conv.epilogue, conv.y)
        epilogue.begin(frame)
        with padded(frame, conv.pads, x) as (images, source):
            steps = WinogradSteps(
                conv=conv, along=along, plan=plan, images=images, x=source, w=w, epilogue=epilogue
            )
            blocks = len(conv.y.blocks) // conv.group
            share = -(-blocks // plan.splits)
            # Tiles are counted through all images; the last group ends with them.
            count = images * math.prod(tiles_of(conv, along))
            groups = (count + plan.tiles - 1) // plan.tiles
            with parallel([conv.group, plan.splits, groups]) as (group, split, number):
                first = start_of_tile(number, plan.tiles, count)
                begin = start_of_tile(split, share, blocks)
                steps.emit(group, first, begin, share)
    return frame.func
