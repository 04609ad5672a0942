"""What can be done with a layer: its numbers, its weights, and what computes it.

A treatment is a precision, and in the place of some layers a substitute: factors of a lower rank,
or a depthwise and a pointwise convolution. What a substitute is for, its pass decides; which layers
got one shows in what the pass leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...ir.core.option_text.options import show_value

Precision = Literal["float", "int8", "weights4"]
BYTES: dict[Precision, float] = {"float": 4.0, "int8": 1.0, "weights4": 0.5625}


@dataclass(frozen=True)
class Substitute:
    """A pass that replaces layers, and its options."""

    name: str
    steps: tuple[str, ...]

    def text(self, only: Sequence[str] = ()) -> str:
        """Return the passes that replace the layers `only`, all that can be where there are none.

        They leave alone what they cannot replace.
        """
        names = [f"only={show_value(list(only))}"] if only else []
        common = ",".join(["max-error=none", "measure=false", "extend=true", *names])
        return ",".join(f"{step},{common}}}" for step in self.steps)


def _rank(ratio: float) -> Substitute:
    steps = (f"decompose-tucker{{ratio={ratio}", f"decompose-svd{{ratio={ratio}")
    return Substitute(f"rank {100 * ratio:g} %", steps)


SUBSTITUTES = (
    Substitute("depthwise", ("substitute-depthwise{terms=1",)),
    _rank(0.5),
    _rank(0.25),
)


@dataclass(frozen=True)
class Treatment:
    """A precision, and what stands in the place of the layer, if anything."""

    precision: Precision
    substitute: Substitute | None = None

    @property
    def name(self) -> str:
        """What people are told: `int8`, `depthwise, int8`."""
        if self.substitute is None:
            return self.precision
        return f"{self.substitute.name}, {self.precision}"


FLOAT = Treatment("float")
TREATMENTS: tuple[Treatment, ...] = (
    FLOAT,
    Treatment("int8"),
    Treatment("weights4"),
    *(Treatment(p, s) for s in SUBSTITUTES for p in ("float", "int8")),
)
