"""The algebra of BatchNormalization at inference, in numpy; no graph is needed to test it.

    BN(y) = s * y + t    with  s = scale / sqrt(var + epsilon),  t = bias - mean * s   (a channel)

(Ioffe and Szegedy, "Batch Normalization", ICML 2015, section 3.1; ONNX operator
BatchNormalization.) Every function computes in float64; callers store in the weights' own type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def affine(
    scale: Array, bias: Array, mean: Array, var: Array, epsilon: float
) -> tuple[Array, Array]:
    """Return (s, t), float64 [C], of a BatchNormalization whose four parameters are [C]."""
    scale, bias, mean, var = (np.asarray(a, np.float64) for a in (scale, bias, mean, var))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        s = scale / np.sqrt(var + epsilon)
        return s, bias - mean * s


def fold_conv(weight: Array, bias: Array | None, s: Array, t: Array) -> tuple[Array, Array]:
    """Fold into Conv: weight [M, C/group, k...], bias [M] or None, s and t [M]."""
    weight = np.asarray(weight, np.float64)
    return weight * _column(s, weight.ndim), _bias(bias, s, t)


def fold_conv_transpose(
    weight: Array, bias: Array | None, s: Array, t: Array, group: int
) -> tuple[Array, Array]:
    """Fold into ConvTranspose: weight [C, M/group, k...], bias [M] or None, s and t [M].

    Input channels come in `group` blocks, and block g computes output channels
    g * M/group ... (g + 1) * M/group - 1.
    """
    weight = np.asarray(weight, np.float64)
    channels, per_group = weight.shape[:2]
    blocks = weight.reshape(group, channels // group, per_group, -1)
    blocks = blocks * s.reshape(group, 1, per_group, 1)
    return blocks.reshape(weight.shape), _bias(bias, s, t)


def fold_gemm(
    weight: Array, bias: Array | None, s: Array, t: Array, *, transposed: bool, beta: float
) -> tuple[Array, Array]:
    """Fold into alpha * A @ B + beta * C: B [K, N], or [N, K] if `transposed`; s and t [N].

    C is None or broadcasts to [1, N]. The folded C is to be used with beta = 1.
    """
    weight = np.asarray(weight, np.float64)
    folded = weight * (s[:, None] if transposed else s[None, :])
    if bias is None:
        return folded, t
    return folded, (beta * np.asarray(bias, np.float64) * s + t).reshape(-1)


def _bias(bias: Array | None, s: Array, t: Array) -> Array:
    return t if bias is None else np.asarray(bias, np.float64) * s + t


def _column(s: Array, rank: int) -> Array:
    return s.reshape(-1, *[1] * (rank - 1))
