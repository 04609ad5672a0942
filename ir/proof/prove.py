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
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from ..graph.types import Dim
from ..ops.traits import traits_of
from .applications import Applications
from .locality import Types, smaller_shapes
from .operators import Call, Setting, results, unit
from .operators.call import ResultType
from .sides import Sizes
from .values import PointValues, UnsupportedError, constant, difference, drawn
from .windows import ProofWindow, reads_shape

Claim = Literal["exact", "identity", "rounding"]
CLAIMS: tuple[Claim, ...] = ("exact", "identity", "rounding")  # what says most comes first

SizesShown = Literal["given", "all", "chosen"]

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


@dataclass(frozen=True)
class Proof:
    """What was shown of a window.

    `claim`: "exact", equal to the last bit for all inputs; "identity", the same function in exact
    arithmetic, of finite inputs; "rounding", the same up to what folded constants were rounded.
    `difference`: how far the two are apart at random points, as a part of their size; `units`: the
    same in rounding units of the constants' type. `evaluated`: how far they are apart where each
    result is rounded to its own type, in rounding units of the least precise of these; 0 where that
    was not looked at: of what is exact, and of layers, whose sums are long, without large
    constants. `sizes`: whether that holds of the sizes that are "given", of "all" sizes that are
    open from a few positions on, or of those that were "chosen".
    """

    claim: Claim
    difference: float
    units: float
    evaluated: float = 0.0
    sizes: SizesShown = "given"


class NotProvedError(Exception):
    """Why a window was not shown to be right."""


def prove_at(
    window: ProofWindow,
    sizes: Sequence[tuple[Sizes, Sizes]],
    opsets: tuple[int, int],
    seed: Sequence[int],
    *,
    leeway: float = 1.0,
) -> Proof:
    """Show that both sides of `window` are equal at each choice of open sizes.

    `sizes`: the types before and after at each. `leeway`: times which roundings may be as large as
    a checker lets them be: under 1 for what has to hold at other points as well. Raises
    NotProvedError where that fails.
    """
    proofs: list[Proof] = []
    seen: list[Mapping[str, tuple[int, ...]]] = []
    reads_sizes = any(map(reads_shape, (*window.before, *window.after)))
    for at, (a, b) in enumerate(sizes):
        shapes = smaller_shapes(window, (a.types, b.types), opsets)
        if reads_sizes or shapes not in seen:  # else it is the same once more
            seen.append(shapes)
            points = _Points(
                window=window,
                types=(a.types, b.types),
                opsets=opsets,
                seed=(*seed, at),
                shapes=shapes,
                leeway=leeway,
            )
            proofs.append(_shown(points))
    found = max(proofs, key=lambda proof: (CLAIMS.index(proof.claim), proof.difference))
    if len(sizes) == 1:
        return found
    return replace(found, sizes="all" if len(proofs) == 1 else "chosen")


def _shown(points: _Points) -> Proof:
    try:
        return _prove(points)
    except UnsupportedError as reason:
        raise NotProvedError(f"not evaluated: {reason}") from reason


def _prove(points: _Points) -> Proof:
    window, opsets = points.window, points.opsets
    # Of several types the most precise counts: a coarse constant that is added allows nothing.
    folded = [unit([dtype]) for dtype in _folded(window)]
    rounding = min(folded, default=0.0)
    most = _MOST_UNITS if rounding < _HALF else _MOST_UNITS_OF_HALF
    if not _has_layers(window, opsets):
        with contextlib.suppress(UnsupportedError):
            found, algebra = points.distance(free=True, tolerance=0.0)
            if found == 0 and not algebra:
                return Proof("exact", 0.0, 0.0)
    tolerance = max(points.leeway * most * rounding, _FEWEST)
    found, _ = points.distance(free=False, tolerance=tolerance)
    if found > max(tolerance, _IDENTITY):
        raise NotProvedError(f"the sides differ by {found:.1e} of their size at random points")
    looked_at = not _has_layers(window, opsets) or _has_large(window)
    evaluated = points.rounded() if looked_at else 0.0
    if found <= _IDENTITY:
        return Proof("identity", found, 0.0, evaluated)
    if not rounding:
        raise NotProvedError(f"arguments of functions differ by {found:.1e} of their size")
    if _has_large(window):
        raise NotProvedError("beside constants as large as these, rounding hides other terms")
    return Proof("rounding", found, found / rounding, evaluated)


@dataclass(frozen=True, kw_only=True)
class _Points:
    """A window, and what its sides are evaluated on."""

    window: ProofWindow
    types: tuple[Types, Types]
    opsets: tuple[int, int]
    seed: Sequence[int]
    shapes: Mapping[str, tuple[int, ...]]  # of inputs, by their names before
    leeway: float

    def rounded(self) -> float:
        """Return how far the sides are apart where results are rounded, in rounding units.

        Raises NotProvedError where that is more than a few roundings: numbers that cancel were
        rounded, as in (x + c) - c, or leave the range of their type.
        """
        nodes = (*self.window.before, *self.window.after)
        both = (self.types[0], self.types[1])
        found = (types.get(t.name) for types in both for n in nodes for t in n.outputs)
        held = [np.dtype(each.dtype) for each in found if each is not None]
        one = unit(held) or unit(_constant_types(nodes))
        if not one:
            return 0.0
        allowed = self.leeway * _MOST_ROUNDINGS * max(len(nodes), 4) * one
        if _has_layers(self.window, self.opsets):
            allowed *= _ROUNDINGS_OF_LAYERS
        apart, _ = self.distance(free=False, tolerance=allowed, rounded=True)
        if apart > allowed:
            raise NotProvedError(
                f"rounding moves the sides {apart:.1e} of their size apart, although they are the "
                "same in exact arithmetic"
            )
        return apart / one

    def distance(
        self, *, free: bool, tolerance: float, rounded: bool = False
    ) -> tuple[float, bool]:
        """Return how far the sides are apart, and whether laws of arithmetic were used.

        `rounded`: each result is rounded to its type.
        """
        random = np.random.default_rng(self.seed)
        setting = Setting(Applications(random, tolerance), free=free, rounded=rounded)
        before: dict[int, PointValues] = {}
        after: dict[int, PointValues] = {}
        for a, b in self.window.inputs:
            before[id(a)] = after[id(b)] = self._border(random, a.name, b.name)
        self._evaluate(self.window.before, before, 0, setting)
        self._evaluate(self.window.after, after, 1, setting)
        x, y = (
            side[id(tensor)]
            for side, tensor in zip((before, after), self.window.output, strict=True)
        )
        if x.dtype != y.dtype:
            raise NotProvedError(f"the types are {x.dtype} and {y.dtype}")
        found = difference(x.array, y.array)
        return max(found, setting.applications.furthest), setting.algebra

    def _border(self, random: np.random.Generator, name: str, after: str) -> PointValues:
        found = self.types[0].get(name) or self.types[1].get(after)
        if found is None or name not in self.shapes:
            raise UnsupportedError(
                f"'{name}' has sizes that do not follow from those of the inputs"
            )
        return drawn(random, self.shapes[name], found.dtype)

    def _evaluate(
        self, nodes: Sequence[gs.Node], known: dict[int, PointValues], side: int, setting: Setting
    ) -> None:
        for node in nodes:
            inputs: list[PointValues | None] = []
            for tensor in node.inputs:
                if tensor.name and id(tensor) not in known:
                    found = self._shape(tensor, side) if reads_shape(node) else _constant(tensor)
                    known[id(tensor)] = found
                inputs.append(known[id(tensor)] if tensor.name else None)

            def body(
                graph: gs.Graph, given: Sequence[PointValues], known: dict[int, PointValues] = known
            ) -> list[PointValues]:
                inner = {**known, **dict(zip(map(id, graph.inputs), given, strict=True))}
                self._evaluate(graph.nodes, inner, side, setting)
                return [inner[id(t)] if id(t) in inner else _constant(t) for t in graph.outputs]

            types = functools.partial(self._result_types, node, side)
            call = Call(node, inputs, self.opsets[side], setting, result_types=types, bodies=body)
            made = results(call)
            # In free mode, constants are what numbers are computed from.
            made = [
                v.rounded() if setting.rounded or (setting.free and v.is_fixed) else v for v in made
            ]
            known.update((id(t), v) for t, v in zip(node.outputs, made, strict=False) if t.name)

    def _result_types(self, node: gs.Node, side: int) -> list[ResultType]:
        """Return the shapes and types of the results of `node`, all of whose sizes are its own."""
        found: list[ResultType] = []
        for tensor in node.outputs:
            each = self.types[side].get(tensor.name)
            sizes = () if each is None or each.shape is None else each.shape
            if tensor.name and (each is None or each.shape is None or None in map(_whole, sizes)):
                raise UnsupportedError(f"{node.op}, whose result has no known sizes")
            dtype = np.dtype(np.float32) if each is None else np.dtype(each.dtype)
            found.append((tuple(size for size in sizes if isinstance(size, int)), dtype))
        return found

    def _shape(self, tensor: gs.Tensor, side: int) -> PointValues:
        """Return a tensor of which nothing but the shape is known."""
        values = dense_values(tensor)
        found = self.types[side].get(tensor.name)
        shape = values.shape if values is not None else None if found is None else found.shape
        if shape is None or not all(isinstance(size, int) for size in shape):
            raise UnsupportedError(f"the shape of '{tensor.name}' does not follow from the inputs'")
        sizes = [size for size in shape if isinstance(size, int)]
        return PointValues(np.broadcast_to(np.float64(0), (1, *sizes)), np.dtype(np.float64))


def _whole(size: Dim) -> int | None:
    return size if isinstance(size, int) else None


def _constant(tensor: gs.Tensor) -> PointValues:
    values = dense_values(tensor)
    if values is None:
        raise UnsupportedError(f"'{tensor.name}' has no values")
    return constant(values)


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
    return any(bool((np.abs(values.astype(np.float64)) >= _LARGE).any()) for values in floats)


def _has_layers(window: ProofWindow, opsets: tuple[int, int]) -> bool:
    return any(
        traits_of(node, opset).linear
        for nodes, opset in zip((window.before, window.after), opsets, strict=True)
        for node in nodes
    )
