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
    """A pass that replaces layers with a window, one for others, and the options of each."""

    name: str
    windowed: str
    others: str | None = None

    def text(self, windowed: Sequence[str] = (), others: Sequence[str] = ()) -> str:
        """Return the passes that replace these layers, all that can be where none is named.

        They leave alone what they cannot replace.
        """
        everywhere = not windowed and not others
        steps = []
        for step, names in ((self.windowed, windowed), (self.others, others)):
            if step is None or not (names or everywhere):
                continue
            only = [f"only={show_value(list(names))}"] if names else []
            common = ",".join(["max-error=none", "measure=false", "extend=true", *only])
            steps.append(f"{step},{common}}}")
        return ",".join(steps)


def _rank(ratio: float) -> Substitute:
    return Substitute(
        f"rank {100 * ratio:g} %",
        f"decompose-tucker{{ratio={ratio}",
        f"decompose-svd{{ratio={ratio}",
    )


SUBSTITUTES = (Substitute("depthwise", "substitute-depthwise{terms=1"), _rank(0.5), _rank(0.25))


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
