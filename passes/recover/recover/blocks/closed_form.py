"""Linear layers of a block from the closed form, before anything is trained.

    min over W, b of  E |y - (W x^ + b)|^2  +  ridge |W - W0|^2        W0: the present weights
    W (H + ridge I) = T + ridge W0,      b = E[y] - W E[x^]    H = cov(x^, x^), T = cov(y, x^)

y is what the teacher's layer of the same name gives, x^ what the student's reads: the layer makes
up for all that was lost before it. Masked weights stay zero: a row is solved in the columns that
its mask leaves. A solution is kept where it brings the block nearer to its target on samples that
it was not computed from.

Source: He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (2017), section 3.1,
the reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.build import make_constant
from .....ir.core.decline import DeclinedError
from .....ir.core.variables import dense_values
from .....ir.graph.clone import clone
from .....ir.ops.linear.kernel import Kernel
from .....ir.ops.linear.layer import Layer, read_with_bias
from .....ir.ops.linear.operators import from_blocks
from .....ir.ops.linear.storing import stored
from .....ir.ops.masks import Masked, read_masked
from .....ir.ops.traits.groups import LAYERS
from .....ir.torch.source import lift_weights
from ....analysis.observe.capture import Arrays, TensorCapture
from ....analysis.observe.moments import Moments
from ....analysis.observe.patches import (
    draw_positions,
    patches_at,
    position_shape,
    positions_per_feed,
    results_at,
)
from ....engine.context import Context
from ..weights import Array, Values, set_values

_POSITIONS = 16384
_COLUMNS = 2048
_RIDGE = 1e-2
# Multiply-adds that solving the rows of a masked layer one by one may cost.
_COST = 1e11


@dataclass(frozen=True)
class SolvableLayer:
    """A layer of a block and the constants that its solution goes to; `mask` as stored, or None."""

    layer: Layer
    weight: str
    bias: str | None
    mask: Array | None


@dataclass
class TeacherOutputs:
    """What the teacher's layer gives for one feed at chosen positions, [G, M, P]."""

    shape: tuple[int, ...]
    chosen: Array
    outputs: Array


class LayerSolver:
    """A block with its masks multiplied in, and the layers in it that can be solved.

    Those are the layers whose result the teacher has too (`shared`) and whose constants nobody else
    reads (`frozen`).
    """

    def __init__(
        self, part: gs.Graph, shared: Set[str], frozen: Set[str], context: Context
    ) -> None:
        self.graph = clone(part)
        lift_weights(self.graph)
        self._masked = _multiply_masks(self.graph)
        inner = context.on(self.graph).quietly()
        view = inner.view()
        self.layers: list[SolvableLayer] = []
        for node in self.graph.nodes:
            if node.op not in LAYERS:
                continue
            try:
                layer = read_with_bias(node, view)
            except DeclinedError:
                continue
            found = self._solvable(layer, frozen)
            if found is not None and layer.result.name in shared:
                self.layers.append(found)

    def _solvable(self, layer: Layer, frozen: Set[str]) -> SolvableLayer | None:
        attrs = layer.node.attrs
        if attrs.get("alpha", 1.0) != 1 or attrs.get("beta", 1.0) != 1:
            return None
        if layer.weight.size // layer.outputs > _COLUMNS:
            return None
        adder = layer.node if layer.added is None else layer.added
        constants = [t for t in adder.inputs if isinstance(t, gs.Constant)]
        held = [t for t in constants if t.name and t is not layer.node.inputs[1]]
        masked = self._masked.get(layer.node.inputs[1].name)
        weight = layer.node.inputs[1].name if masked is None else masked.weight.name
        names = {weight, *(t.name for t in held)}
        if names & frozen or len(held) > 1 or any(t.values.size != layer.outputs for t in held):
            return None
        mask = (
            None
            if masked is None
            else np.broadcast_to(np.asarray(dense_values(masked.mask)), layer.weight.shape)
        )
        return SolvableLayer(layer, weight, held[0].name if held else None, mask)

    def look(self, results: Arrays, feeds: int, seed: Sequence[int]) -> list[TeacherOutputs]:
        """Return what the teacher's `results` are at drawn positions, one a layer."""
        seen = []
        for number, each in enumerate(self.layers):
            result = results[each.layer.result.name]
            shape = position_shape(each.layer, result)
            generator = np.random.default_rng([*seed, number])
            chosen = draw_positions(
                shape, positions_per_feed(each.layer, _POSITIONS, feeds), generator
            )
            seen.append(
                TeacherOutputs(result.shape, chosen, results_at(each.layer, result, chosen))
            )
        return seen

    def solve(
        self,
        feeds: Callable[[], Iterator[Arrays]],
        seen: Sequence[Sequence[TeacherOutputs]],
        error: Callable[[gs.Graph], float],
    ) -> Values:
        """Return constants by name for which the block's `error` is smallest.

        `feeds` gives what the block reads, `seen` what `look` returned for the same.
        """
        found: Values = {}
        best = error(self.graph)
        for number, each in enumerate(self.layers):
            moments = self._moments(each, feeds(), [run[number] for run in seen])
            kernel = _solved(each, moments) if moments.count else None
            if kernel is None:
                continue
            before = self._values(each)
            after = _constants(each, kernel, before)
            if not all(np.isfinite(array).all() for array in after.values()):
                continue
            self._put(each, after)
            now = error(self.graph)
            if now < best:
                best = now
                found.update(after)
            else:
                self._put(each, before)
        return found

    def _moments(
        self, each: SolvableLayer, feeds: Iterator[Arrays], seen: Sequence[TeacherOutputs]
    ) -> Moments:
        moments = Moments(centred=each.bias is not None)
        capture = TensorCapture(self.graph, [each.layer.source.name])
        for feed, one in zip(feeds, seen, strict=True):
            source = capture(feed)[each.layer.source.name]
            shape = np.broadcast_to(np.float32(0), one.shape)  # patches ask for sizes alone
            if one.chosen.size:
                patches = patches_at(each.layer, source, shape, one.chosen)
                moments.add(patches.astype(np.float32), one.outputs.astype(np.float32))
        return moments

    def _values(self, each: SolvableLayer) -> Values:
        """Return the present weight, below its mask, and bias, as stored."""
        names = {each.weight: self._weight(each)}
        if each.bias is not None:
            names[each.bias] = self._constant(each.bias)
        return names

    def _weight(self, each: SolvableLayer) -> Array:
        masked = self._masked.get(each.layer.node.inputs[1].name)
        held = dense_values(each.layer.node.inputs[1] if masked is None else masked.weight)
        assert held is not None
        return held

    def _constant(self, name: str) -> Array:
        adder = self._adder(name)
        held = dense_values(adder)
        assert held is not None
        return held

    def _adder(self, name: str) -> gs.Tensor:
        return next(t for node in self.graph.nodes for t in node.inputs if t.name == name)

    def _put(self, each: SolvableLayer, values: Values) -> None:
        masked = self._masked.get(each.layer.node.inputs[1].name)
        if masked is not None:
            masked.weight._values = values[each.weight]
            product = each.layer.node.inputs[1]
            product._values = masked.values()
        set_values(self.graph, values)


def _multiply_masks(graph: gs.Graph) -> dict[str, Masked]:
    """Replace products of weight and mask by constants; return what each was, by its name."""
    found: dict[str, Masked] = {}
    made: dict[str, gs.Constant] = {}
    for node in graph.nodes:
        masked = read_masked(node)
        if masked is not None:
            name = node.outputs[0].name
            found[name], made[name] = masked, make_constant(name, masked.values())
    graph.nodes = [node for node in graph.nodes if node.outputs[0].name not in made]
    for node in graph.nodes:
        for position, tensor in enumerate(node.inputs):
            if tensor.name in made:
                node.inputs[position] = made[tensor.name]
    return found


def _solved(each: SolvableLayer, moments: Moments) -> Kernel | None:
    """Return the kernel that the moments call for, None where its rows would take too long."""
    kernel = each.layer.kernel()
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    square, cross = moments.input_moment(), moments.cross_moment()
    mean = np.einsum("gkk->g", square) / square.shape[1]
    ridge = _RIDGE * mean + np.finfo(np.float64).tiny
    square = square + ridge[:, None, None] * np.eye(square.shape[1])
    cross = cross + ridge[:, None, None] * rows
    if each.mask is None:
        found = np.linalg.solve(square, cross.swapaxes(1, 2)).swapaxes(1, 2)
    else:
        mask = _as_kernel(each.layer, each.mask).weight.reshape(rows.shape) != 0
        solved = _solve_masked(square, cross, mask)
        if solved is None:
            return None
        found = solved
    bias = None
    if each.bias is not None:
        predicted = np.einsum("gmk,gk->gm", found, moments.mean_input)
        bias = (moments.mean_output - predicted).reshape(-1)
    return Kernel(found.reshape(kernel.weight.shape), bias)


def _solve_masked(square: Array, cross: Array, mask: Array) -> Array | None:
    """Solve W square = cross [G, M, K] in the columns of each row that `mask` leaves."""
    found = np.zeros_like(cross)
    plans: list[tuple[int, Array, Array]] = []
    for group in range(len(mask)):
        patterns, which = np.unique(mask[group], axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            plans.append(
                (group, np.flatnonzero(pattern), np.flatnonzero(which.reshape(-1) == number))
            )
    if sum(float(len(columns)) ** 3 for _, columns, _ in plans) > 3 * _COST:
        return None
    for group, columns, rows in plans:
        if columns.size:
            part = square[group][np.ix_(columns, columns)]
            right = cross[group][np.ix_(rows, columns)]
            found[group][np.ix_(rows, columns)] = np.linalg.solve(part, right.T).T
    return found


def _as_kernel(layer: Layer, values: Array) -> Kernel:
    """Return an array of the weight's stored shape as that of a kernel."""
    return replace(layer, weight=values, bias=None).kernel()


def _constants(each: SolvableLayer, kernel: Kernel, before: Values) -> Values:
    """Return the constants of a solution, as stored; what a mask covers keeps its value."""
    weight = from_blocks(each.layer.node, kernel.weight)
    old = before[each.weight]
    weight = stored(weight, old.dtype).reshape(old.shape)
    if each.mask is not None:
        weight = np.where(each.mask.reshape(old.shape) != 0, weight, old)
    found = {each.weight: weight}
    if each.bias is not None:
        assert kernel.bias is not None
        shape, dtype = before[each.bias].shape, before[each.bias].dtype
        found[each.bias] = stored(kernel.bias, dtype).reshape(shape)
    return found
