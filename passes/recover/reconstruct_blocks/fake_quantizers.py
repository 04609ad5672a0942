"""Quantizers of a block while it learns: rounding of weights, steps of activations, dropping.

    weights        s clip(q + h, qmin, qmax)    -1 <= h <= 1, round(h) if |h - round(h)| <= t / 2
    activations    s r^     s = s0 exp(a)     r = clip(x / s, qmin - z, qmax - z)
                   r^ = r with probability p, element by element, else round(r)

q are the integers that the weights have, h at first how far their float value lies from them, and t
grows from 0 to 1 while learning: what lies near an integer is rounded first, and what is left in
between makes up for it. Gradients pass straight through the rounding of activations; those of steps
follow from the formula. Clipping is never dropped: it may be all that is left of a Relu or Clip.

Sources: Nagel et al., "Up or Down?" (2020), rounding relaxed at first; Wei et al., "QDrop" (2022);
Esser et al., "Learned Step Size Quantization" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....ir.torch.fake_quantize import FakeQuantize

# From where rounding still is to the integer that is there.
_NEAR = 0.45
# Before the last steps all weights are on the grid.
_EARLY = 1.1


@dataclass
class Phase:
    """What the quantizers of a block do: in a step of learning they drop `drop` of the rounding.

    `done`: the part of the steps made.
    """

    learning: bool = False
    drop: float = 0.5
    done: float = 0.0


class LearnedRounding(FakeQuantize):
    """The weights of a FakeQuantize as integers that move by at most one.

    `weight`: its values, on the grid; `real`: what they were rounded from, itself if that is not
    known. What is passed in later does not count.
    """

    def __init__(self, given: FakeQuantize, weight: Tensor, real: Tensor, phase: Phase) -> None:
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
            self.shift = nn.Parameter(torch.clamp(real / scale - self.whole, -_NEAR, _NEAR))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights."""
        scale, low, high = self._grid(self.whole)
        return torch.clamp(self.whole + self._move(), low, high) * scale

    def integers(self, x: Tensor) -> Tensor:
        """Return the integers of the weights, in int64."""
        _, low, high = self._grid(self.whole)
        whole = torch.clamp(self.whole + self._move(), low, high)
        return whole.to(torch.int64) + self._aligned(self.zero_point, whole)

    def _move(self) -> Tensor:
        move = torch.clamp(self.shift, -1, 1)
        whole = torch.round(move.detach())
        if not self._phase.learning:
            return whole
        near = (whole - move.detach()).abs() <= min(1.0, _EARLY * self._phase.done) / 2
        return torch.where(near, whole, move)


class LearnedStep(FakeQuantize):
    """The activations of a FakeQuantize, with a step that learns where `learn`."""

    def __init__(self, given: FakeQuantize, phase: Phase, *, learn: bool) -> None:
        nn.Module.__init__(self)  # the scale is computed here, and no buffer
        self.register_buffer("start", given.step().detach().clone())
        self.register_buffer("zero_point", given.zero_point, persistent=False)
        self.qmin, self.qmax = given.qmin, given.qmax
        self.axis, self.block, self.batched = given.axis, given.block, True
        self.growth = nn.Parameter(torch.zeros_like(self.start), requires_grad=learn)
        self._phase = phase

    @property
    def scale(self) -> Any:
        """The step that counts."""
        return self.start * torch.exp(self.growth)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` on the grid, while learning in part only clipped to it."""
        scale, low, high = self._grid(x)
        ratio = torch.clamp(x / scale, low, high)
        whole = torch.round(ratio.detach())
        if self._phase.learning:
            if self._phase.drop:
                dropped = torch.rand_like(ratio) < self._phase.drop
                whole = torch.where(dropped, ratio.detach(), whole)
            whole = ratio + (whole - ratio).detach()
        return whole * scale
