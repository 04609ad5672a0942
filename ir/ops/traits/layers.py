"""The table, operators over several elements: layers, pooling, reductions, normalizations."""

from __future__ import annotations

import math
from typing import Any

from .lines import Known, Line, line, refined_by
from .model import Integers, Movement, Weighted
from .parts import ANY, NOT_NEGATIVE, ONCE, POSITIVE, SIGN, UP, WRAP, ZERO

_OVERFLOW: Known = {"integers": Integers.OVERFLOW}
_SINGLE: Known = {"keeps_single": True}
_MEAN: Known = {**UP, **SIGN, **ANY, **ZERO, **_SINGLE, "keeps_uniform": True}
_LARGEST: Known = {
    **UP,
    **SIGN,
    **POSITIVE,
    **_SINGLE,
    "keeps_uniform": True,
    "zero": True,
    "exact": True,
    "integers": Integers.EXACT,
    "movement": Movement.SELECT,
}


@refined_by("transB")
def _gemm(opset: int, transposed: Any) -> Known:
    """The attribute transB says how the weight is stored."""
    outputs, inputs = (-2, -1) if transposed else (-1, -2)
    return {"weighted": Weighted(outputs=outputs, inputs=inputs)}


_CONV = Weighted(grouped=True)
_TRANSPOSED = Weighted(outputs=1, inputs=0, grouped=True)
_MATRIX = Weighted(bias=-1, outputs=-1, inputs=-2)
_BATCH: Known = {"keeps_batch": True}

LAYERS: dict[str, Line] = {
    "CausalConvWithState": line(None, _BATCH, weighted=Weighted(grouped=True, steered=True)),
    "Conv": line(None, _BATCH, weighted=_CONV, nan=True),
    "ConvInteger": line(
        None, _BATCH, WRAP, weighted=Weighted(bias=-1, grouped=True, quantized=True)
    ),
    "ConvTranspose": line(None, _BATCH, weighted=_TRANSPOSED, nan=True),
    "DeformConv": line(None, _BATCH, weighted=Weighted(bias=3, grouped=True, steered=True)),
    "Gemm": line(_gemm, _OVERFLOW, nan=True),
    "MatMul": line(None, WRAP, weighted=_MATRIX, nan=True),
    "MatMulInteger": line(
        None, WRAP, weighted=Weighted(bias=-1, outputs=-1, inputs=-2, quantized=True)
    ),
    "QLinearConv": line(
        None,
        _BATCH,
        integers=Integers.SATURATE,
        weighted=Weighted(weight=3, bias=8, grouped=True, quantized=True),
    ),
    "QLinearMatMul": line(
        None,
        integers=Integers.SATURATE,
        weighted=Weighted(weight=3, bias=-1, outputs=-1, inputs=-2, quantized=True),
    ),
}

_POOL: Known = {"pooling": True, "keeps_batch": True}


@refined_by("count_include_pad")
def _padded(opset: int, count_include_pad: Any) -> Known:
    """Zeros that pads put there may count."""
    return {"keeps_uniform": not count_include_pad}


POOLING: dict[str, Line] = {
    "AveragePool": line(_padded, _POOL, _MEAN),
    "GlobalAveragePool": line(None, _POOL, _MEAN),
    "GlobalLpPool": line(None, _POOL, POSITIVE, NOT_NEGATIVE, ZERO),
    "GlobalMaxPool": line(None, _POOL, _LARGEST),
    "LpPool": line(None, _POOL, POSITIVE, NOT_NEGATIVE, ZERO),
    "MaxPool": line(None, _POOL, _LARGEST, of_nothing=-math.inf),
}

_REDUCES: Known = {"reduction": True}
_INF = math.inf

REDUCTIONS: dict[str, Line] = {
    "ReduceL1": line(None, _REDUCES, POSITIVE, NOT_NEGATIVE, ZERO, _OVERFLOW, of_nothing=0.0),
    "ReduceL2": line(None, _REDUCES, POSITIVE, NOT_NEGATIVE, ZERO, _OVERFLOW, of_nothing=0.0),
    "ReduceLogSum": line(None, _REDUCES, _OVERFLOW, nan=True, of_nothing=-_INF),
    "ReduceLogSumExp": line(
        None, _REDUCES, UP, _OVERFLOW, keeps_nonnegative=True, nan=True, of_nothing=-_INF
    ),
    "ReduceMax": line(None, _REDUCES, _LARGEST, ONCE, of_nothing=-_INF),
    "ReduceMean": line(None, _REDUCES, _MEAN, integers=Integers.EXACT),
    "ReduceMin": line(None, _REDUCES, _LARGEST, ONCE, of_nothing=_INF),
    "ReduceProd": line(
        None,
        _REDUCES,
        _SINGLE,
        _OVERFLOW,
        keeps_nonnegative=True,
        zero=True,
        nan=True,
        of_nothing=1.0,
    ),
    "ReduceSum": line(None, _REDUCES, _MEAN, _OVERFLOW, of_nothing=0.0, keeps_uniform=False),
    "ReduceSumSquare": line(None, _REDUCES, NOT_NEGATIVE, ZERO, _OVERFLOW, of_nothing=0.0),
}

_INDEX: Known = {"arg_reduction": True, "low": 0.0, "integral": True, "integers": Integers.EXACT}
_SOFTMAX: Known = {"softmax": True, "keeps_shape": True}
_RUNNING: Known = {"cumulative": True, "keeps_shape": True, "nan": True, "zero": True}

ALONG_AXES: dict[str, Line] = {
    "ArgMax": line(None, _INDEX, ONCE),
    "ArgMin": line(None, _INDEX, ONCE),
    "CumProd": line(None, _RUNNING, WRAP, keeps_nonnegative=True, zero=False),
    "CumSum": line(None, _RUNNING, UP, SIGN, ANY, WRAP),
    "Hardmax": line(None, _SOFTMAX, exact=True, integral=True, low=0.0, high=1.0),
    "LogSoftmax": line(None, _SOFTMAX, nan=True, high=0.0),
    "Softmax": line(None, _SOFTMAX, keeps_nonnegative=True, nan=True, low=0.0, high=1.0),
}

_NORMALIZES: Known = {"normalization": True, "keeps_shape": True}


@refined_by("training_mode", "is_test")
def _batchnorm(opset: int, training_mode: Any, is_test: Any) -> Known:
    """In training it normalizes by its batch; an attribute says so from opset 14 on."""
    if opset >= 14:
        return {"trains": bool(training_mode), "keeps_batch": True}
    return {"trains": opset < 7 and not is_test}


NORMALIZATIONS: dict[str, Line] = {
    "BatchNormalization": line(_batchnorm, _NORMALIZES, nan=True),
    "GroupNormalization": line(None, _NORMALIZES, _BATCH, nan=True),
    "InstanceNormalization": line(None, _NORMALIZES, _BATCH, nan=True),
    "LRN": line(None, _NORMALIZES, _BATCH, SIGN, zero=True),
    "LayerNormalization": line(None, _NORMALIZES, nan=True),
    "LpNormalization": line(None, _NORMALIZES, SIGN, nan=True),
    "MeanVarianceNormalization": line(None, _NORMALIZES, nan=True),
    "RMSNormalization": line(None, _NORMALIZES, nan=True),
}

QUANTIZERS: dict[str, Line] = {
    "DequantizeLinear": line(None, quantizer=True, keeps_shape=True, integers=Integers.EXACT),
    "DynamicQuantizeLinear": line(None, quantizer=True, keeps_shape=True, exact=False),
    "QuantizeLinear": line(None, quantizer=True, keeps_shape=True, integers=Integers.SATURATE),
}

RECURRENT: dict[str, Line] = {op: line(None, recurrent=True) for op in ("GRU", "LSTM", "RNN")}

_RANDOM: Known = {"random": True}

RANDOM: dict[str, Line] = {
    "Bernoulli": line(None, _RANDOM, keeps_shape=True, low=0.0, high=1.0, integral=True),
    "Multinomial": line(None, _RANDOM, low=0.0, integral=True),
    "RandomNormal": line(None, _RANDOM, data=()),
    "RandomNormalLike": line(None, _RANDOM, data=(), keeps_shape=True),
    "RandomUniform": line(None, _RANDOM, data=()),
    "RandomUniformLike": line(None, _RANDOM, data=(), keeps_shape=True),
}
