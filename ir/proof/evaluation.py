"""Both sides of a window, evaluated on the same values of the tensors at its border."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from ..graph.types import Dim, TensorType
from .applications import Applications
from .axes.open_sizes import Look
from .magnitudes import Magnitudes
from .operators import Call, Setting, results
from .operators.call import ResultType
from .residues import Primes
from .scales import Scale
from .sparse import SparseDraw
from .values import (
    MOST_ELEMENTS,
    POINTS,
    Array,
    PointValues,
    UnsupportedError,
    constant,
    difference,
    difference_at_scale,
    difference_of_terms,
    drawn,
)
from .windows import ProofWindow, reads_shape


class BeforeFailsError(UnsupportedError):
    """The side before cannot be evaluated: the window may not have these sizes."""


class UnknownSizesError(UnsupportedError):
    """Sizes do not follow from those of the inputs of the window."""


@dataclass(frozen=True)
class Distance:
    """How far the sides are apart at random points.

    `whole`: as a part of their size, arguments of functions included; `at_jumps`: the same of those
    of functions that jump. `algebra`: whether laws of arithmetic were used that hold of finite
    numbers alone. `types_differ`: whether the results have other element types.
    `affine`: whether both sides are a constant and a sum of multiples of what enters.
    """

    whole: float
    at_jumps: float
    algebra: bool
    types_differ: bool
    affine: bool


@dataclass(frozen=True, kw_only=True)
class BothSides:
    """A window, and what its sides are evaluated on."""

    window: ProofWindow
    look: Look
    opsets: tuple[int, int]
    seed: Sequence[int]
    # Constants in float64, by their tensors, and with their magnitudes.
    held: dict[tuple[int, bool], PointValues] = field(default_factory=dict, repr=False)

    def distance(
        self,
        *,
        free: bool,
        tolerance: float,
        rounded: bool = False,
        scale: Scale | None = None,
        together: bool = False,
    ) -> Distance:
        """Return how far the sides are apart.

        `free`: of floats, no laws of arithmetic are used. `tolerance`: up to which arguments are
        taken for equal. `rounded`: each result is rounded to its type. `scale`: of the numbers at
        the border; `together`: see `difference_at_scale`. Raises UnsupportedError where a side
        cannot be evaluated.
        """
        random = np.random.default_rng(self.seed)
        primes = Primes(np.random.default_rng((*self.seed, 1)), POINTS)
        applications = Applications(random, tolerance, scale)
        setting = Setting(applications, primes, free=free, rounded=rounded, scale=scale)
        before: dict[int, PointValues] = {}
        after: dict[int, PointValues] = {}
        for a, b in self.window.inputs:
            before[id(a)] = after[id(b)] = self._border(random, setting, a, b)
        x = self._before(before, setting)
        self._evaluate(self.window.after, after, 1, setting)
        y = after[id(self.window.output[1])]
        if scale is None:
            far = difference(x.array, y.array)
        else:
            far = difference_at_scale(x.array, y.array, together=together)
        return Distance(
            max(far, applications.furthest),
            applications.furthest_at_jumps,
            setting.algebra,
            x.dtype != y.dtype,
            setting.affine and not applications.any,
        )

    def term_distance(
        self, draw: SparseDraw, tolerance: float, least: Array | None = None
    ) -> tuple[float, Array | None]:
        """Return how far the sides are apart where `draw` says what enters, beside their terms.

        With it the magnitudes of these, where they had to be known: not where the sides are within
        `tolerance` beside the results themselves and `least`, magnitudes [1, *shape] of terms that
        are there at all points. Raises UnsupportedError where it is not known what rounding does
        to the terms: of functions of which nothing is known.
        """
        random = np.random.default_rng(self.seed)
        primes = Primes(np.random.default_rng((*self.seed, 1)), POINTS)
        setting = Setting(Applications(random, 0.0, draw), primes, free=False, scale=draw)
        given = self.numbers(draw)
        x, y = (self._result(given, side, setting).array for side in (0, 1))
        if setting.applications.any:
            raise UnsupportedError("functions of which nothing is known")
        if least is not None:
            size = np.maximum(np.maximum(np.abs(x), np.abs(y)), least)
            whole = difference_of_terms(x, y, size)
            if whole <= tolerance:
                return whole, None
        magnitudes = self._magnitudes(given, 0) + self._magnitudes(given, 1)
        return difference_of_terms(x, y, magnitudes), magnitudes

    def magnitudes(self, draw: SparseDraw) -> Array:
        """Return how large the terms of the side before are where `draw` says what enters."""
        return self._magnitudes(self.numbers(draw), 0)

    def rounded_magnitudes(
        self, side: int, ranges: Sequence[float], kept: Magnitudes
    ) -> tuple[Array, float]:
        """Return how large the terms of a side are where no input is larger than its range.

        With it how many roundings there are on the way of a term. Raises UnsupportedError where
        either is not known.
        """
        given = []
        for pair, largest in zip(self.window.inputs, ranges, strict=True):
            found = self.look.type_of(*pair)
            if found is None or not dtypes.is_float(np.dtype(found.dtype)):
                raise UnsupportedError("an input that is no number")
            array = np.full((2, *self.look.shapes[pair[0].name]), largest)  # of one all would vary
            given.append(PointValues(array, np.dtype(found.dtype), magnitude=array))
        result = self._of_magnitudes(given, side, kept)
        assert result.magnitude is not None
        return result.magnitude[0], result.roundings

    def _magnitudes(self, given: Sequence[PointValues], side: int) -> Array:
        sizes = [replace(value, magnitude=np.abs(value.array)) for value in given]
        found = self._of_magnitudes(sizes, side, Magnitudes(rounds=False)).magnitude
        assert found is not None
        return found

    def _of_magnitudes(
        self, given: Sequence[PointValues], side: int, kept: Magnitudes
    ) -> PointValues:
        random = np.random.default_rng(self.seed)  # nothing is drawn
        setting = Setting(
            Applications(random, 0.0), Primes(random, POINTS), free=False, magnitudes=kept
        )
        found = self._result(given, side, setting)
        if found.magnitude is None:
            raise UnsupportedError("a result that is no number")
        return found

    def _result(self, given: Sequence[PointValues], side: int, setting: Setting) -> PointValues:
        """Return what a side gives where `given` enters."""
        pairs = zip(self.window.inputs, given, strict=True)
        known = {id(pair[side]): value for pair, value in pairs}
        self._evaluate((self.window.before, self.window.after)[side], known, side, setting)
        return known[id(self.window.output[side])]

    def numbers(self, draw: SparseDraw) -> list[PointValues]:
        """Return what enters where `draw` says where it is not 0."""
        random = np.random.default_rng(self.seed)
        return [self._number(random, draw, *pair) for pair in self.window.inputs]

    def _number(
        self, random: np.random.Generator, draw: SparseDraw, before: gs.Tensor, after: gs.Tensor
    ) -> PointValues:
        found = self.look.type_of(before, after)
        if found is None or not dtypes.is_float(np.dtype(found.dtype)):
            raise UnsupportedError("an input that is no number")
        shape = self.look.shapes[before.name]
        if math.prod(shape) * len(draw.places[before.name]) > MOST_ELEMENTS:
            raise UnsupportedError("more elements than are looked at")
        numbers = draw.drawn(random, before.name, shape)
        return PointValues(numbers, np.dtype(found.dtype))

    def types(self) -> tuple[dict[str, TensorType], dict[str, TensorType]]:
        """Return the types of the tensors of each side, by name, from one value of each input."""
        random = np.random.default_rng(self.seed)
        primes = Primes(np.random.default_rng((*self.seed, 1)), POINTS)
        setting = Setting(Applications(random, 0.0), primes, free=False)
        found = []
        for side, nodes in enumerate((self.window.before, self.window.after)):
            known: dict[int, PointValues] = {}
            for pair in self.window.inputs:
                value = self._border(random, setting, *pair)
                known[id(pair[side])] = replace(value, array=value.array[:1])
            self._evaluate(nodes, known, side, setting)
            tensors = (t for node in nodes for t in (*node.inputs, *node.outputs) if t.name)
            found.append({t.name: _type_of(known[id(t)]) for t in tensors if id(t) in known})
        return found[0], found[1]

    def _before(self, known: dict[int, PointValues], setting: Setting) -> PointValues:
        try:
            self._evaluate(self.window.before, known, 0, setting)
        except UnknownSizesError:
            raise
        except UnsupportedError as reason:
            raise BeforeFailsError(str(reason)) from reason
        return known[id(self.window.output[0])]

    def _border(
        self, random: np.random.Generator, setting: Setting, before: gs.Tensor, after: gs.Tensor
    ) -> PointValues:
        found = self.look.type_of(before, after)
        if found is None or before.name not in self.look.shapes:
            raise UnknownSizesError(
                f"'{before.name}' has sizes that do not follow from those of the inputs"
            )
        shape = self.look.shapes[before.name]
        return drawn(
            random,
            shape,
            found.dtype,
            setting.primes,
            with_specials=setting.free,
            scale=setting.scale if isinstance(setting.scale, Scale) else None,
        )

    def _evaluate(
        self, nodes: Sequence[gs.Node], known: dict[int, PointValues], side: int, setting: Setting
    ) -> None:
        for node in nodes:
            inputs: list[PointValues | None] = []
            for tensor in node.inputs:
                if tensor.name and id(tensor) not in known:
                    reads = reads_shape(node)
                    found = self._shape(tensor, side) if reads else self._held(tensor, setting)
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

    def _held(self, tensor: gs.Tensor, setting: Setting) -> PointValues:
        kept = setting.magnitudes
        key = (id(tensor), kept is not None)
        if key not in self.held:
            found = _constant(tensor)
            self.held[key] = found if kept is None else kept.of_constant(found)
        return self.held[key]

    def _result_types(self, node: gs.Node, side: int) -> list[ResultType]:
        """Return the shapes and types of the results of `node`."""
        found: list[ResultType] = []
        for tensor in node.outputs:
            each = self.look.types[side].get(tensor.name)
            shape = () if not tensor.name else self._sizes(tensor, each, side)
            found.append((shape, np.dtype(np.float32) if each is None else np.dtype(each.dtype)))
        return found

    def _sizes(self, tensor: gs.Tensor, found: TensorType | None, side: int) -> tuple[int, ...]:
        dims: Sequence[Dim] = (None,) if found is None or found.shape is None else found.shape
        sizes = [self.look.size(dim, side) for dim in dims]
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            raise UnknownSizesError(
                f"the shape of '{tensor.name}' does not follow from the inputs'"
            )
        return known

    def _shape(self, tensor: gs.Tensor, side: int) -> PointValues:
        """Return a tensor of which nothing but the shape is known."""
        values = dense_values(tensor)
        found = self.look.types[side].get(tensor.name)
        sizes = self._sizes(tensor, found, side) if values is None else values.shape
        return PointValues(np.broadcast_to(np.float64(0), (1, *sizes)), np.dtype(np.float64))


def _type_of(value: PointValues) -> TensorType:
    return TensorType(value.dtype, value.shape)


def _constant(tensor: gs.Tensor) -> PointValues:
    values = dense_values(tensor)
    if values is None:
        raise UnsupportedError(f"'{tensor.name}' has no values")
    return constant(values)
