"""Rows and matrices: products, sums along an axis, normalizations, Softmax, rounding."""

from __future__ import annotations

import numpy as np

from ...kernels.channel_normalization import ChannelNormalization
from ...kernels.matmul import MatMul, packed
from ...kernels.normalization import Normalization
from ...kernels.reduction import AxisSum
from ...kernels.rounding import RoundedRows
from ...kernels.softmax import Softmax
from ..draw import Draw, in_blocks
from .meaning import Meaning, meaning_of


@meaning_of.register
def _matmul(op: MatMul, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.rows, op.depth))
    matrices = () if op.shared else (draw.images,)
    w = draw.normal((*matrices, op.depth, op.columns), op.depth**-0.5)
    x *= np.float32(draw.size)
    draw.args += [x, packed(op, w) if op.packed else w]
    value = x.astype(np.float64) @ w
    return Meaning(value=value.astype(np.float32)[:, :, None, None])


@meaning_of.register
def _reduction(op: AxisSum, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length, op.inner)) + np.float32(1)  # sums are far from 0
    x = np.abs(x) if op.finish == "logarithm" else x
    draw.args.append(x)
    terms = {"value": x, "size": np.abs(x), "square": np.square(x, dtype=np.float64)}[op.term]
    totals = terms.sum(axis=1, dtype=np.float64) * op.scale
    finish = {"sum": np.positive, "root": np.sqrt, "logarithm": np.log}[op.finish]
    value = finish(totals)
    return Meaning(value=value.astype(np.float32).reshape(draw.images, op.inner, 1, 1, 1))


@meaning_of.register
def _normalization(op: Normalization, draw: Draw) -> Meaning:
    rows = draw.images
    x = draw.normal((rows, op.length)) + 4 * draw.normal((rows, 1))
    scale, shift = draw.normal((op.parameters,)), draw.normal((op.parameters,))
    draw.args += [x, scale, shift]
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    value = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + op.epsilon)
    shared = op.length // op.run
    first = (np.arange(rows) % op.period * shared)[:, None]
    place = first + np.arange(op.length) // op.run
    value = value * scale[place] + shift[place]
    return Meaning(value=value.astype(np.float32).reshape(rows, op.length, 1, 1, 1))


@meaning_of.register
def _channel_normalization(op: ChannelNormalization, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    parameters = [draw.normal((op.y.channels,)) for _ in range(2)]
    draw.args += [in_blocks(values, op.y) for values in parameters]
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    value = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + op.epsilon)
    scale, shift = (each.reshape(-1, 1, 1, 1) for each in parameters)
    return Meaning(value=(value * scale + shift).astype(np.float32))


@meaning_of.register
def _softmax(op: Softmax, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length))
    draw.args.append(x)
    powers = np.exp(x.astype(np.float64))
    value = powers / powers.sum(axis=1, keepdims=True)
    return Meaning(value=value.astype(np.float32).reshape(draw.images, op.length, 1, 1, 1))


@meaning_of.register
def _rounding(op: RoundedRows, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length))
    draw.args.append(x)
    return Meaning(value=x.reshape(draw.images, op.length, 1, 1, 1), accuracy=0.0)
