"""Matrix products as ONNX's operators have them."""

from __future__ import annotations

import torch
from torch import Tensor


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None,
    alpha: float,
    beta: float,
    flip_a: bool,
    flip_b: bool,
) -> Tensor:
    """Gemm: alpha * a @ b + beta * c, either matrix transposed first."""
    made = torch.matmul(a.T if flip_a else a, b.T if flip_b else b)
    made = made if alpha == 1 else made * alpha
    if c is None:
        return made
    return made + (c if beta == 1 else c * beta)
