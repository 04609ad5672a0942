"""Recognize activations that exporters spell out.

x * clamp(x + 3; 0, 6) / 6 = HardSwish(x)       1 / (1 + exp(-x)) = Sigmoid(x)
x * sigmoid(x) = Silu(x)                        x * tanh(softplus(x)) = Mish(x)
x * (1 + erf(x / sqrt(2))) / 2 = Gelu(x)        min(max(x, a), b) = Clip(x, a, b)

Constants are compared up to the rounding of six typed digits. What they become: see the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...engine.rewrite import Rewrite, RewritePass
from .clamps import RecognizeClamp
from .gates import RecognizeDividedSilu, RecognizeGate, RecognizeOperator
from .rectifiers import RecognizeLeakyMaximum, RecognizeRectifiedSum
from .sigmoids import RecognizeHardSigmoid, RecognizeSigmoid, RecognizeSoftplus, RecognizeSoftsign


@dataclass(frozen=True)
class RecognizeActivations(RewritePass):
    """Write HardSwish, SiLU, Mish, GELU, Clip and other activations in place of their spellings.

    Left alone where anything else reads a value from inside the spelling.
    """

    name: ClassVar[str] = "recognize-activations"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites; clamps come first, since others are made of them."""
        return (
            RecognizeClamp(),
            RecognizeLeakyMaximum(),
            RecognizeHardSigmoid(),
            RecognizeSigmoid(),
            RecognizeSoftsign(),
            RecognizeSoftplus(),
            RecognizeRectifiedSum(),
            RecognizeDividedSilu(),
            RecognizeGate(),
            RecognizeOperator(),
        )
