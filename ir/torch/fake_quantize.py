"""Fake quantization: values moved onto an integer grid, with gradients for training.

    forward     y  = s * clamp(round(x / s), qmin - z, qmax - z)             round half to even
    backward    dL/dx = dL/dy inside the range, 0 where the value was clipped
                dL/ds = g * sum(dL/dy * (round(x / s) - x / s))   inside the range
                        g * sum(dL/dy * (qmin - z or qmax - z))   where clipped
                g = 1 / sqrt(N * qmax)

Forward is QuantizeLinear then DequantizeLinear, bit by bit. The gradient passes straight through
the rounding (Bengio et al., 2013); that of the scale is the learned step size of Esser et al.,
"Learned Step Size Quantization" (ICLR 2020), section 2.1 and 2.2, where N counts the values that
share a scale (of one sample, for activations), so that scales move no faster than weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

_LEAST = float(torch.finfo(torch.float32).tiny)


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """x, s (broadcast against x), the two ends of the range, and g -> y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor, g: float) -> Tensor:
        ctx.save_for_backward(x, scale, low, high)
        ctx.g = g
        return torch.clamp(torch.round(x / scale), low, high) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (gradient,) = gradients
        x, scale, low, high = ctx.saved_tensors
        ratio = x / scale
        whole = torch.round(ratio)
        inside = (whole >= low) & (whole <= high)
        to_scale = None
        if ctx.needs_input_grad[1]:
            each = torch.where(inside, whole - ratio, torch.clamp(whole, low, high))
            to_scale = (gradient * each * ctx.g).sum_to_size(scale.shape)
        return gradient * inside, to_scale, None, None, None


class FakeQuantize(nn.Module):  # type: ignore[misc]
    """Moves a tensor onto the grid of a QuantizeLinear and DequantizeLinear pair.

    `scale`: rank 0; or one entry for each index of `axis`; or, with `block`, of the rank of the
    input, one entry for each `block` elements along `axis`. A parameter if `learn`, else a buffer.
    `zero_point`: integers of its shape. `batched`: the first axis counts samples.
    """

    def __init__(
        self,
        scale: Tensor,
        zero_point: Tensor,
        qmin: int,
        qmax: int,
        *,
        axis: int = 0,
        block: int = 0,
        learn: bool = False,
        batched: bool = True,
    ) -> None:
        super().__init__()
        if learn and not isinstance(scale, nn.Parameter):
            scale = nn.Parameter(scale)
        if isinstance(scale, nn.Parameter):
            self.scale = scale
        else:
            self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point, persistent=False)
        self.qmin, self.qmax, self.axis, self.block = qmin, qmax, axis, block
        self.batched = batched

    def step(self) -> Tensor:
        """Return the scale that counts, positive wherever training has moved the parameter."""
        return self.scale.abs().clamp(min=_LEAST)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` on the grid."""
        scale, low, high = self._grid(x)
        share = x.numel() // max(self.scale.numel(), 1)
        if self.batched and x.dim():
            share //= max(x.shape[0], 1)
        most = max(self.qmax, -self.qmin)
        g = 1 / math.sqrt(max(share, 1) * most) if self.scale.requires_grad else 0.0
        return _Round.apply(x, scale, low, high, g)

    def integers(self, x: Tensor) -> Tensor:
        """Return the integers of `x`, as QuantizeLinear gives them, in int64."""
        scale, low, high = self._grid(x)
        whole = torch.clamp(torch.round(x / scale), low, high)
        return whole.to(torch.int64) + self._aligned(self.zero_point, x)

    def extra_repr(self) -> str:
        """Show the range, and the axis of a grid with several scales."""
        where = f", axis={self.axis}" if self.scale.dim() else ""
        return f"{self.qmin}..{self.qmax}{where}"

    def _grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = self._aligned(self.step(), x)
        zero = self._aligned(self.zero_point, x)
        return scale, (self.qmin - zero).to(x.dtype), (self.qmax - zero).to(x.dtype)

    def _aligned(self, values: Tensor, x: Tensor) -> Tensor:
        return aligned(values, x, self.axis, self.block)


def aligned(values: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Return scales or zero points in a shape that broadcasts against `x`."""
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    if values.numel() == 1:
        return values.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def round_bias(bias: Tensor, input_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """Return a bias on the grid of the products it is added to, that of int32 accumulators.

    The gradient goes to the bias alone; the scales are trained by what they quantize.
    """
    scale = bias_scale(input_scale, weight_scale)
    low, high = (torch.full((), bound, dtype=bias.dtype, device=bias.device) for bound in _INT32)
    return _Round.apply(bias, scale, low, high, 0.0)


def bias_scale(input_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """Return the scale of a bias: the product of those of input and weight."""
    parts = (s.detach().abs().clamp(min=_LEAST) for s in (input_scale, weight_scale))
    first, second = parts
    return first.reshape(()) * second.reshape(-1 if second.numel() > 1 else ())


_INT32 = (-(2.0**31), 2.0**31 - 1)


def to_integers(x: Tensor, quantizer: Tensor, zero: Tensor, axis: int, dtype: Any) -> Tensor:
    """Return the integers of values that lie on a grid already; no gradient."""
    scale = aligned(quantizer.detach().abs().clamp(min=_LEAST), x, axis, 0)
    whole = torch.round(x.detach() / scale).to(torch.int64)
    return (whole + aligned(zero, x, axis, 0)).to(dtype)


def dequantize(q: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int) -> Tensor:
    """DequantizeLinear of integers that are computed."""
    whole = q.to(torch.int64)
    if zero is not None:
        whole = whole - aligned(zero.to(torch.int64), q, axis, block)
    return whole.to(scale.dtype) * aligned(scale, q, axis, block)
