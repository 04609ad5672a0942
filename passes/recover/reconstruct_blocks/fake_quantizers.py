"""Quantizers of a block while it learns: rounding of weights, steps of activations, dropping.

    weights        s clip(q + h, qmin, qmax)       h = clip(1.2 tanh(v / 2), -1, 1), in the end rounded
    activations    s r^                            s = s0 exp(a),   r = clip(x / s, qmin - z, qmax - z)
                   r^ = r with probability p, element by element, else round(r)

q are the integers that the weights have; h moves each by one step or not. Gradients pass through
the rounding of activations; those of their steps follow from the formula. Clipping is never
dropped: it may be all that is left of a Relu or Clip.

Sources: Nagel et al., "Up or Down?" (2020), the relaxed rounding; Wei et al., "QDrop" (2022),
dropped quantization; Esser et al., "Learned Step Size Quantization" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....ir.torch.fake_quantize import FakeQuantize

# What the logistic curve is stretched by, so that its ends are reached.
_STRETCH = 1.2


@dataclass
class Phase:
    """What the quantizers of a block do: in a step of learning they drop `drop` of the rounding."""

    learning: bool = False
    drop: float = 0.5


class LearnedRounding(FakeQuantize):
    """The weights of a FakeQuantize as integers that move by at most one step.

    `weight`: its values, on the grid. What is passed in later does not count.
    """

    def __init__(self, given: FakeQuantize, weight: Tensor, phase: Phase) -> None:
        super().__init__(
            given.scale.detach(),
            given.zero_point,
            given.qmin,
            given.qmax,
            axis=given.axis,
            block=given.block,
            batched=False,
        )
        self._phase = phase
        with torch.no_grad():
            scale, low, high = self._grid(weight)
            self.register_buffer("whole", torch.clamp(torch.round(weight / scale), low, high))
        self.logits = nn.Parameter(torch.zeros_like(self.whole))

    def shift(self) -> Tensor:
        """Return h, within -1 and 1."""
        return torch.clamp(_STRETCH * torch.tanh(self.logits / 2), -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights."""
        scale, low, high = self._grid(self.whole)
        shift = self.shift() if self._phase.learning else torch.round(self.shift())
        return torch.clamp(self.whole + shift, low, high) * scale

    def integers(self, x: Tensor) -> Tensor:
        """Return the integers of the weights, in int64."""
        _, low, high = self._grid(self.whole)
        whole = torch.clamp(self.whole + torch.round(self.shift()), low, high)
        return whole.to(torch.int64) + self._aligned(self.zero_point, whole)

    def undecided(self, beta: float) -> Tensor:
        """Return the sum over the weights of 1 - |2 |h| - 1|^beta, 0 where all are integers."""
        return (1 - (2 * self.shift().abs() - 1).abs().pow(beta)).sum()


class LearnedStep(FakeQuantize):
    """The activations of a FakeQuantize, with a step that learns where `learn`."""

    def __init__(self, given: FakeQuantize, phase: Phase, *, learn: bool) -> None:
        nn.Module.__init__(self)
        self.register_buffer("start", given.step().detach().clone())
        self.register_buffer("zero_point", given.zero_point, persistent=False)
        self.qmin, self.qmax, self.axis, self.block = (
            given.qmin,
            given.qmax,
            given.axis,
            given.block,
        )
        self._phase = phase
        self.growth = nn.Parameter(torch.zeros_like(self.start), requires_grad=learn)

    @property
    def scale(self) -> Any:
        """The step that counts."""
        return self.start * torch.exp(self.growth)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` on the grid, in part only clipped to it while learning."""
        scale, low, high = self._grid(x)
        ratio = torch.clamp(x / scale, low, high)
        whole = torch.round(ratio)
        if self._phase.learning:
            if self._phase.drop > 0:
                whole = torch.where(
                    torch.rand_like(ratio) < self._phase.drop, ratio.detach(), whole
                )
            whole = ratio + (whole - ratio).detach()
        return whole * scale
