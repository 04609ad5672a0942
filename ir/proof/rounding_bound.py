"""How far rounding may move the two sides of a window apart, for inputs within ranges.

|fl(a(x)) - fl(b(x))| <= gamma_m |a|(r) + gamma_n |b|(r) + d (|a|(r) + |b|(r)),   |x| <= r

A sum of terms that have m roundings on their way is off by gamma_m = m u / (1 - m u) times the sum
of their sizes at most, in whatever order they are added (N. J. Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 3.1; `operators.magnitudes`). d is how far the sides are apart
in exact arithmetic, by what folded constants were rounded. A number under the smallest normal one
of its type counts as that one, which is what it is rounded by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .evaluation import BothSides
from .magnitudes import FLOAT_TYPES, Magnitudes
from .proof import Proof
from .values import UnsupportedError
from .windows import ProofWindow


@dataclass(frozen=True, kw_only=True)
class RoundingBound:
    """What rounding may move a window's result by, before against after.

    - `absolute`, `relative`: the largest difference of an element, as a number and as a part of the
      largest number that the result may be.
    - `type`: the float type that rounds most; "" of what is exact.
    - `overflows`: whether a number on the way may leave the range of its type; then the bound says
      nothing of such inputs. `underflows`: whether one that is not 0 always stays under the
      smallest normal number.
    - `none`: why there is no bound; "" where there is one.
    """

    absolute: float = 0.0
    relative: float = 0.0
    type: str = ""
    overflows: bool = False
    underflows: bool = False
    none: str = ""


NO_ROUNDING = RoundingBound()


def bound_of(
    window: ProofWindow, proof: Proof, opsets: tuple[int, int], ranges: Sequence[float]
) -> RoundingBound:
    """Return the bound of a window of which `proof` was shown.

    `ranges`: the largest |x| of each input, in order. Sums over an axis that the graph leaves open
    are of the size that the proof looked at.
    """
    if proof.claim == "exact":
        return NO_ROUNDING
    if proof.look is None:
        return RoundingBound(none="no sizes are known")
    points = BothSides(window=window, look=proof.look, opsets=opsets, seed=(0,))
    kept = Magnitudes(rounds=True)
    try:
        with np.errstate(over="ignore"):
            sides = [points.rounded_magnitudes(side, ranges, kept) for side in (0, 1)]
    except UnsupportedError as reason:
        return RoundingBound(none=str(reason))
    name = max(kept.units, key=lambda each: kept.units[each])
    unit = FLOAT_TYPES[name].unit
    if any(count * unit >= 1 for _, count in sides):
        return RoundingBound(none=f"more roundings than {name} has numbers between 1 and 2")
    folded = 0.0 if proof.claim == "identity" else proof.difference
    found = sum(
        magnitude * (count * unit / (1 - count * unit) + folded) for magnitude, count in sides
    )
    absolute = float(np.max(found, initial=0.0))
    largest = min(float(magnitude.max(initial=0.0)) for magnitude, _ in sides)
    if not np.isfinite(absolute):
        return RoundingBound(none="numbers that leave the range of float64")
    return RoundingBound(
        absolute=absolute,
        relative=absolute / largest if largest else 0.0,
        type=name,
        overflows=kept.overflows,
        underflows=kept.underflows,
    )
