"""Element-wise operators as ONNX defines them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def divide(a: Any, b: Any) -> Any:
    """Div: integers towards zero."""
    kind = next(v for v in (a, b) if isinstance(v, Tensor))
    return torch.div(a, b) if kind.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def power(base: Any, exponent: Any) -> Tensor:
    """Pow: the result has the type of the base."""
    made = torch.pow(base, exponent)
    return made.to(base.dtype) if isinstance(base, Tensor) else made


def cast_like(x: Tensor, like: Tensor) -> Tensor:
    """CastLike."""
    return x.to(like.dtype)


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    """Clip with computed bounds; the upper one wins where they cross."""
    x = x if low is None else torch.maximum(x, torch.as_tensor(low, dtype=x.dtype))
    return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu: the slope broadcasts to x."""
    return torch.where(x < 0, slope * x, x)


def hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid."""
    return torch.clamp(alpha * x + beta, 0, 1)


def selu(x: Tensor, alpha: float = 1.6732632, gamma: float = 1.0507010) -> Tensor:
    """Selu."""
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


def shrink(x: Tensor, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    """Shrink."""
    moved = torch.where(x > lambd, x - bias, torch.zeros_like(x))
    return torch.where(x < -lambd, x + bias, moved)


def swish(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Swish."""
    return x * torch.sigmoid(alpha * x)
