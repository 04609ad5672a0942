"""Whether the two sides of a window compute the same, for all inputs.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from ..ops.traits import traits_of
from .axes.covering import covering
from .axes.locality import WindowAxes
from .axes.open_sizes import Look
from .evaluation import BeforeFailsError, BothSides, Distance, UnknownSizesError
from .operators import unit
from .scales import SCALES, SCALES_OF_AFFINE
from .sides import PairedSizes
from .values import UnsupportedError
from .window_types import window_types
from .windows import ProofWindow, reads_shape

Claim = Literal["exact", "identity", "rounding", "jump"]
CLAIMS: tuple[Claim, ...] = ("exact", "identity", "rounding", "jump")  # what says most comes first

SizesShown = Literal["given", "all", "tried"]

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


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was shown of a window.

    `claim`: "exact", equal to the last bit for all inputs; "identity", the same function in exact
    arithmetic, of finite inputs; "rounding", the same up to what folded constants were rounded;
    "jump", the same, but rounding moves what a function jumps on, so that a result may be another.
    `difference`: how far the two are apart at random points, as a part of their size; `units`: the
    same in rounding units of the constants' type. `evaluated`: how far they are apart where each
    result is rounded to its own type, in rounding units of the least precise of these; 0 where that
    was not looked at: of what is exact, and of layers, whose sums are long, without large
    constants. `sizes`: whether that holds of the sizes that are "given", of "all" sizes that are
    open, or was "tried" at some; `looks`: at how many.
    """

    claim: Claim
    difference: float
    units: float
    evaluated: float = 0.0
    sizes: SizesShown = "given"
    looks: int = 1


class NotProvedError(Exception):
    """Why a window was not shown to be right."""


def prove_at(
    window: ProofWindow,
    sizes: PairedSizes,
    opsets: tuple[int, int],
    seed: Sequence[int],
    *,
    leeway: float = 1.0,
) -> Proof:
    """Show that both sides of `window` are equal, of all sizes that are open where that can be.

    `leeway`: times which roundings may be as large as a checker lets them be: under 1 for what has
    to hold at other points as well. Raises NotProvedError where that fails.
    """
    base, facts = sizes.base, _Facts.of(window, opsets)
    nodes = (*window.before, *window.after)
    # What neither an input nor a size enters is what it is.
    constant = not window.inputs and not any(map(reads_shape, nodes))
    if not sizes.opened or constant:
        axes = WindowAxes(window, base, base, opsets)
        given = [Look(axes.smaller(), None, base)]
        found = _weakest(_proofs(window, facts, opsets, seed, leeway, given))
        return replace(found, sizes="all") if sizes.opened else found
    base, opened = window_types(window, base, sizes.named, opsets, seed)
    covered = covering(window, base, opened, opsets)
    if covered is not None:
        with contextlib.suppress(UnknownSizesError):
            proofs = _proofs(window, facts, opsets, seed, leeway, covered.needed)
            proofs += _proofs(
                window, facts, opsets, (*seed, 1), leeway, covered.beside, needed=False
            )
            return replace(_weakest(proofs), sizes="all" if covered.is_whole else "tried")
    looks = []
    for types in sizes.choices():
        axes = WindowAxes(window, types, sizes.named, opsets)
        looks.append(Look(axes.smaller(), None, types))
    try:
        proofs = _proofs(window, facts, opsets, seed, leeway, looks[:1])
        proofs += _proofs(window, facts, opsets, (*seed, 1), leeway, looks[1:], needed=False)
    except UnknownSizesError as reason:
        raise NotProvedError(f"not evaluated: {reason}") from reason
    return replace(_weakest(proofs), sizes="tried")


def _weakest(proofs: Sequence[Proof]) -> Proof:
    if not proofs:
        raise NotProvedError("of the sizes that were tried, it can have none")
    found = max(proofs, key=lambda proof: (CLAIMS.index(proof.claim), proof.difference))
    return replace(found, looks=len(proofs))


def _proofs(
    window: ProofWindow,
    facts: _Facts,
    opsets: tuple[int, int],
    seed: Sequence[int],
    leeway: float,
    looks: Iterable[Look],
    *,
    needed: bool = True,
) -> list[Proof]:
    """Return what is shown at each of `looks`; without those that the window before cannot have,
    unless they are needed.
    """
    found = []
    for at, look in enumerate(looks):
        each = BothSides(window=window, look=look, opsets=opsets, seed=(*seed, at))
        try:
            found.append(_prove(each, facts, leeway, at_scales=needed and at == 0))
        except UnknownSizesError as reason:
            if look.sizes is not None:
                raise
            raise NotProvedError(f"not evaluated: {reason}") from reason
        except UnsupportedError as reason:
            if needed or not isinstance(reason, BeforeFailsError):
                raise NotProvedError(f"not evaluated: {reason}") from reason
    return found


@dataclass(frozen=True)
class _Facts:
    """What is the same of a window at all sizes.

    `rounding`: the rounding unit of constants that one side alone has, 0 where there are none.
    `layers`: whether there are sums of products; `large`: whether a constant is so large that what
    is added to it is rounded away.
    """

    rounding: float
    layers: bool
    large: bool

    @classmethod
    def of(cls, window: ProofWindow, opsets: tuple[int, int]) -> _Facts:
        # Of several types the most precise counts: a coarse constant that is added allows nothing.
        folded = (unit([dtype]) for dtype in _folded(window))
        return cls(min(folded, default=0.0), _has_layers(window, opsets), _has_large(window))


def _prove(points: BothSides, facts: _Facts, leeway: float, *, at_scales: bool) -> Proof:
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
        raise NotProvedError(
            f"the sides differ by {found.whole:.1e} of their size at random points"
        )
    looked_at = not facts.layers or facts.large
    evaluated = _rounded(points, facts, leeway) if looked_at else 0.0
    if at_scales:
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


def _at_scales(points: BothSides, facts: _Facts, tolerance: float, found: Distance) -> Distance:
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
            raise NotProvedError(
                f"the sides differ by {each.whole:.1e} of their size at numbers near {sizes}"
            )
        found = replace(
            found,
            whole=max(found.whole, each.whole),
            at_jumps=max(found.at_jumps, each.at_jumps),
        )
    return found


def _is_number(points: BothSides, before: gs.Tensor, after: gs.Tensor) -> bool:
    found = points.look.type_of(before, after)
    return found is not None and dtypes.is_float(np.dtype(found.dtype))


def _rounded(points: BothSides, facts: _Facts, leeway: float) -> float:
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
