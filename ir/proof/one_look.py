"""Whether the two sides of a window compute the same, at sizes that it is looked at with.

Both sides are evaluated at random points, on the same random values of the tensors at the border.
What is nothing but movement, and the same functions of the same elements, is equal to the last bit.
Else, laws of arithmetic are used: sums and products are computed, and of every other function
nothing is assumed but that equal arguments give equal results, so that both sides are polynomials
in what enters the window and in the results of such functions. Two that differ differ at a random
point with probability one (J. T. Schwartz, Fast Probabilistic Algorithms for Verification of
Polynomial Identities, 1980; over the reals, the zeros of a polynomial have measure zero).

Constants that were folded are rounded to their type. So polynomials may differ by as much, and the
difference that is found is told, in units of the rounding. Of a row of coefficients that differ by
d in norm, a difference under t d at all `points` has probability (0.8 t) ** points (the density of
a normal distribution is at most 0.4; for polynomials of degree n the probability is of the order
of t ** (points / n): A. Carbery and J. Wright, Distributional and L^q norm inequalities for
polynomials over convex bodies, 2001).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from ..ops.traits import traits_of
from .evaluation import BothSides, Distance
from .operators import unit
from .proof import Claim, NotProvedError, Proof
from .scales import SCALES, SCALES_OF_AFFINE
from .term_draws import term_draws
from .values import UnsupportedError
from .windows import ProofWindow

# An identity that float64 shows: what its own rounding leaves.
_IDENTITY = 2.0**-36
# How many roundings of constants an edit may add up.
_MOST_UNITS = 64.0
_FEWEST = 2.0**-40
# The same where 64 of them were much of a number.
_HALF, _MOST_UNITS_OF_HALF = 2.0**-12, 4.0
# Constants beside which other numbers are rounded to few bits; the sums of layers round as well.
_LARGE, _ROUNDINGS_OF_LAYERS = 2.0**13, 2.0**10
# By how many roundings a node may move a result, where cancelling makes nothing of it.
_MOST_ROUNDINGS = 16.0
# A difference that is no part of a size: of results that were drawn, or of other numbers.
_LARGEST_PART = 0.5
# Of the seeds of sparse draws.
_OF_TERMS = 2


@dataclass(frozen=True)
class WindowFacts:
    """What is the same of a window at all sizes.

    `rounding`: the rounding unit of constants that one side alone has, 0 where there are none.
    `layers`: whether there are sums of products; `large`: whether a constant is so large that what
    is added to it is rounded away.
    """

    rounding: float
    layers: bool
    large: bool

    @classmethod
    def of(cls, window: ProofWindow, opsets: tuple[int, int]) -> WindowFacts:
        """Read the facts of a window from its nodes and constants."""
        # Of several types the most precise counts: a coarse constant that is added allows nothing.
        folded = (unit([dtype]) for dtype in _folded(window))
        return cls(min(folded, default=0.0), _has_layers(window, opsets), _has_large(window))


def shown_at(points: BothSides, facts: WindowFacts, leeway: float, *, at_scales: bool) -> Proof:
    """Return what is shown of a window at the sizes of `points`.

    `leeway`: see `prove.prove_at`. `at_scales`: whether to look at numbers of other sizes, and at
    each term of layers by itself. Raises NotProvedError where the sides are not shown to be equal.
    """
    rounding = facts.rounding
    most = _MOST_UNITS if rounding < _HALF else _MOST_UNITS_OF_HALF
    if not facts.layers:
        with contextlib.suppress(UnsupportedError):
            exact = points.distance(free=True, tolerance=0.0)
            if exact.whole == 0 and not exact.algebra and not exact.types_differ:
                return Proof(claim="exact", difference=0.0, units=0.0)
    tolerance = max(leeway * most * rounding, _FEWEST)
    found = points.distance(free=False, tolerance=tolerance)
    if found.types_differ:
        raise NotProvedError("the sides give other element types")
    if found.whole > max(tolerance, _IDENTITY):
        raise NotProvedError(_differ(found.whole, "at random points"))
    looked_at = not facts.layers or facts.large
    evaluated = _rounded(points, facts, leeway) if looked_at else 0.0
    if at_scales:
        terms = _by_terms(points, facts, tolerance, found)
        affine = terms is not None and found.affine
        found = terms or found
        if not affine:
            found = _at_scales(points, facts, tolerance, found)
    if found.whole <= _IDENTITY:
        return Proof(claim="identity", difference=found.whole, units=0.0, evaluated=evaluated)
    if not rounding:
        raise NotProvedError(f"arguments of functions differ by {found.whole:.1e} of their size")
    if facts.large:
        raise NotProvedError("beside constants as large as these, rounding hides other terms")
    claim: Claim = "jump" if found.at_jumps > _IDENTITY else "rounding"
    units = found.whole / rounding
    return Proof(claim=claim, difference=found.whole, units=units, evaluated=evaluated)


def _by_terms(
    points: BothSides, facts: WindowFacts, tolerance: float, found: Distance
) -> Distance | None:
    """Return how far the sides are apart where terms of sums are seen by themselves.

    None where that cannot be looked at. Raises NotProvedError where that is more than at random
    points is let go.
    """
    if not facts.layers:
        return None
    most = max(tolerance, _IDENTITY)
    own = replace(points, seed=(*points.seed, _OF_TERMS))
    try:
        each = [drawn.far for drawn in term_draws(own, most)]
    except UnsupportedError:
        return None
    if not each:
        return None
    far = max(each)
    if far > most:
        raise NotProvedError(f"terms of the sides differ by {far:.1e} of their size")
    return replace(found, whole=max(found.whole, far))


def _at_scales(
    points: BothSides, facts: WindowFacts, tolerance: float, found: Distance
) -> Distance:
    """Return how far the sides are apart at random points and at numbers of other sizes.

    Raises NotProvedError where that is more than at random points is let go.
    """
    if not any(_is_number(points, *pair) for pair in points.window.inputs):
        return found
    for scale in SCALES_OF_AFFINE if found.affine else SCALES:
        with np.errstate(all="ignore"):
            each = points.distance(
                free=False, tolerance=tolerance, scale=scale, together=facts.layers
            )
        if each.whole > max(tolerance, _IDENTITY):
            sizes = " and ".join(f"{size:g}" for size in scale.sizes)
            raise NotProvedError(_differ(each.whole, f"at numbers near {sizes}"))
        found = replace(
            found,
            whole=max(found.whole, each.whole),
            at_jumps=max(found.at_jumps, each.at_jumps),
        )
    return found


def _differ(far: float, where: str) -> str:
    """Say that the sides differ; how far, where that is a part of what they give."""
    if far < _LARGEST_PART:
        return f"the sides differ by {far:.1e} of their size {where}"
    return f"the sides differ altogether {where}, with what is no arithmetic left open"


def _is_number(points: BothSides, before: gs.Tensor, after: gs.Tensor) -> bool:
    found = points.look.type_of(before, after)
    return found is not None and dtypes.is_float(np.dtype(found.dtype))


def _rounded(points: BothSides, facts: WindowFacts, leeway: float) -> float:
    """Return how far the sides are apart where results are rounded, in rounding units.

    Raises NotProvedError where that is more than a few roundings: numbers that cancel were rounded,
    as in (x + c) - c, or leave the range of their type.
    """
    window = points.window
    nodes = (*window.before, *window.after)
    found = (types.get(t.name) for types in points.look.types for n in nodes for t in n.outputs)
    held = [np.dtype(each.dtype) for each in found if each is not None]
    one = unit(held) or unit(_constant_types(nodes))
    if not one:
        return 0.0
    allowed = leeway * _MOST_ROUNDINGS * max(len(nodes), 4) * one
    if facts.layers:
        allowed *= _ROUNDINGS_OF_LAYERS
    apart = points.distance(free=False, tolerance=allowed, rounded=True).whole
    if apart > allowed:
        raise NotProvedError(
            f"rounding moves the sides {apart:.1e} of their size apart, although they are the "
            "same in exact arithmetic"
        )
    return apart / one


def _constant_types(nodes: Sequence[gs.Node]) -> list[np.dtype[np.generic]]:
    held = (dense_values(tensor) for node in nodes for tensor in node.inputs)
    return [values.dtype for values in held if values is not None and dtypes.is_float(values.dtype)]


def _folded(window: ProofWindow) -> list[np.dtype[np.generic]]:
    """Return the types of the constants that one side has and the other has not."""
    sides = [
        {
            (values.tobytes(), values.shape): values.dtype
            for node in nodes
            for tensor in node.inputs
            if (values := dense_values(tensor)) is not None and dtypes.is_float(values.dtype)
        }
        for nodes in (window.before, window.after)
    ]
    return [(sides[0].get(key) or sides[1][key]) for key in sides[0].keys() ^ sides[1].keys()]


def _has_large(window: ProofWindow) -> bool:
    """Say whether a constant is so large that what is added to it is rounded away."""
    held = (dense_values(t) for n in (*window.before, *window.after) for t in n.inputs)
    floats = (v for v in held if v is not None and v.size and dtypes.is_float(v.dtype))
    return any(bool((v >= _LARGE).any() or (v <= -_LARGE).any()) for v in floats)


def _has_layers(window: ProofWindow, opsets: tuple[int, int]) -> bool:
    return any(
        traits_of(node, opset).linear
        for nodes, opset in zip((window.before, window.after), opsets, strict=True)
        for node in nodes
    )
