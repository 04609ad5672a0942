"""What is claimed of windows, edits and outputs, and in which words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .proof import CLAIMS, Claim, Proof, SizesShown
from .rounding_bound import RoundingBound, bound_of
from .sides import Side
from .windows import ProofWindow

# What an edit has where a window was not shown: it was compared on samples, if at all.
SAMPLED = "sampled"


@dataclass(frozen=True, kw_only=True)
class WindowClaim:
    """What was shown of a window, with tensors referred to by what they compute.

    - `name`: what the tensor after is called.
    - `output`: the tensors before and after that are equal; `inputs`: those that they are computed
      from, pair by pair, which are known to be equal.
    - `before`, `after`: how many nodes compute it.
    - `claim`, `difference`, `units`, `evaluated`, `sizes`, `looks`: see `Proof`.
    - `ranges`: how large each input may be for `bound` to hold.
    """

    name: str
    output: tuple[str, str]
    inputs: tuple[tuple[str, str], ...]
    before: int
    after: int
    claim: Claim
    difference: float
    units: float
    evaluated: float
    sizes: SizesShown
    looks: int
    ranges: tuple[float, ...]
    bound: RoundingBound

    @classmethod
    def of(
        cls, window: ProofWindow, proof: Proof, sides: tuple[Side, Side], ranges: Sequence[float]
    ) -> WindowClaim:
        """Return what `proof` shows of `window`, whose tensors are of two sides, before and after.

        `ranges`: the largest |x| of each input.
        """
        before, after = sides
        opsets = int(before.graph.opset), int(after.graph.opset)
        bound = bound_of(window, proof, opsets, ranges)
        return cls(
            name=window.output[1].name,
            output=(before.reference(window.output[0]), after.reference(window.output[1])),
            inputs=tuple((before.reference(a), after.reference(b)) for a, b in window.inputs),
            before=len(window.before),
            after=len(window.after),
            claim=proof.claim,
            difference=float(f"{proof.difference:.2g}"),
            units=float(f"{proof.units:.2g}"),
            evaluated=float(f"{proof.evaluated:.2g}"),
            sizes=proof.sizes,
            looks=proof.looks,
            ranges=tuple(ranges),
            bound=replace(
                bound,
                absolute=_rounded_up(bound.absolute),
                relative=_rounded_up(bound.relative),
            ),
        )


def _rounded_up(number: float) -> float:
    """Return the next number of two digits: a bound stays one."""
    return float(f"{number * 1.05:.2g}") if number else 0.0


@dataclass(frozen=True, kw_only=True)
class EditClaim:
    """One edit: its pass, and what holds of it.

    - `windows`: the windows that show it, by position; none where nothing of it is left but nodes
      that are the same before and after.
    - `claim`: the weakest of theirs, "exact" of none; "sampled" where it was not shown.
    """

    pass_name: str
    windows: tuple[int, ...]
    claim: str


@dataclass(frozen=True, kw_only=True)
class OpenOutput:
    """An output of the graph that was not shown to be equal, and why."""

    name: str
    reason: str


WORDS = {
    "exact": "exact for all inputs",
    "identity": "identities, for finite inputs where nothing overflows",
    "rounding": (
        "up to the rounding of folded constants, for finite inputs where nothing overflows"
    ),
    "jump": (
        "up to rounding before a jump, where it may be as large as the jump, for finite inputs "
        "where nothing overflows"
    ),
    SAMPLED: "sampled only",
}


TRIED = "at the sizes tried alone"


def counts(claims: Iterable[str]) -> list[str]:
    """Return how many there are of each claim, what says most first."""
    found = Counter(claims)
    return [f"{found[each]} {WORDS[each]}" for each in (*CLAIMS, SAMPLED) if each in found]


def weakest(claims: Iterable[Claim]) -> Claim:
    """Return the claim that says least, "exact" of none."""
    return max(claims, key=CLAIMS.index, default=CLAIMS[0])
