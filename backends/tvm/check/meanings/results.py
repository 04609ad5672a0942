"""What a kernel gives: its buffer, its epilogue and a number of images."""

from __future__ import annotations

from typing import Any

from ...kernels.bfloat16 import HALF
from ...kernels.convolution import ConvolutionForm
from ...kernels.matmul import MatMul
from ...kernels.normalization import Normalization
from ...kernels.reduction import AxisSum
from ...kernels.rounding import RoundedRows
from ...kernels.softmax import Softmax
from ...spec.chain import ElementwiseChain
from ...spec.layout import BufferSpec, plain_spec

_NO_CHAIN = ElementwiseChain()
_IMAGES = 3  # where their number is free


def result_of(op: Any) -> tuple[BufferSpec, ElementwiseChain, int]:
    """Return the result's buffer, the epilogue and a number of images of a description."""
    if isinstance(op, Normalization):  # rows are its images
        rows = _IMAGES * op.period if op.rows is None else op.rows
        return plain_spec(op.length, ()), _NO_CHAIN, rows
    if isinstance(op, AxisSum):
        return plain_spec(op.inner, ()), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, Softmax):
        return plain_spec(op.length, ()), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, RoundedRows):
        return plain_spec(op.length, (), HALF), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, MatMul):
        return op.y, op.epilogue, op.outer or _IMAGES
    found = op.conv if isinstance(op, ConvolutionForm) else op
    images = _IMAGES if found.batch is None else found.batch
    return found.y, getattr(found, "epilogue", _NO_CHAIN), images
