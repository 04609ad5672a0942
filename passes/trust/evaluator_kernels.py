"""Kernels for ONNX's reference evaluator in place of those of it that go element by element.

ConvTranspose scatters: y[m, s * i + d * t] += sum_c W[c, m, t] * x[c, i] for every tap t of the
kernel, a product of matrices each. What pads take away is cut off at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference.ops.op_conv_transpose import ConvTranspose as _ByColumns

Array = np.ndarray[Any, Any]


class ConvTranspose(_ByColumns):  # type: ignore[misc]  # called as the operator is
    """ConvTranspose with stated pads; the evaluator's own kernel takes what is left."""

    def _run(self, X: Array, W: Array, B: Array | None = None, **attributes: Any) -> tuple[Array]:  # noqa: N803
        stated = attributes.get("auto_pad", "NOTSET") in (None, "NOTSET", "VALID")
        if not stated or attributes.get("output_shape"):
            found: tuple[Array] = super()._run(X, W, B, **attributes)
            return found
        rank, group = X.ndim - 2, attributes.get("group") or 1
        strides, dilations = (attributes.get(n) or [1] * rank for n in ("strides", "dilations"))
        pads = attributes.get("pads") or [0] * 2 * rank
        more = attributes.get("output_padding") or [0] * rank
        whole = _scattered(X, W, group, strides, dilations, more)
        ends = (size - end for size, end in zip(whole.shape[2:], pads[rank:], strict=True))
        inner: tuple[Any, ...] = (..., *map(slice, pads[:rank], ends))
        kept = whole[inner]
        return (kept if B is None else kept + B.reshape(-1, *[1] * rank),)


def _scattered(
    x: Array, weight: Array, group: int, strides: Any, dilations: Any, more: Any
) -> Array:
    """Return the results [N, M, ...] before pads are taken off."""
    batch, channels, *sizes = x.shape
    outputs, kernel = weight.shape[1], weight.shape[2:]
    steps = zip(sizes, strides, kernel, dilations, more, strict=True)
    spread = [(i - 1) * s + (k - 1) * d + 1 + extra for i, s, k, d, extra in steps]
    total = np.zeros((batch, group * outputs, *spread), x.dtype)
    columns = x.reshape(batch, group, channels // group, math.prod(sizes))
    rows = weight.reshape(group, channels // group, outputs, *kernel).swapaxes(1, 2)
    for tap in np.ndindex(*kernel):
        taps: tuple[Any, ...] = (..., *tap)
        product = (rows[taps] @ columns).reshape(batch, group * outputs, *sizes)
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        places = zip(starts, sizes, strides, strict=True)
        at: tuple[Any, ...] = (..., *(slice(b, b + (i - 1) * s + 1, s) for b, i, s in places))
        total[at] += product
    return total
