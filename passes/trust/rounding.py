"""How far a network's own rounding moves its outputs: the yardstick of verification.

All measurements are of the untouched graph on the reference runtime, whose own optimizations are
off, so that no yardstick comes from a run that may itself be wrong; the largest counts. Every
weight w is replaced by w * (1 + d), |d| up to one unit in the last place, which is what storing a
folded weight does to it. The result of every operator that rounds is replaced by y * (1 + d), d
plus or minus one unit, which is what another order of summation or another spelling of a function
does (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 2.2: the standard
model of floating-point arithmetic). So is an input of the graph that a sum reads: in which order
its elements are added is such a change of them (section 4.2), and where they cancel what is behind
the sum sees it. And an output that is a sum is moved by one unit of the largest
of its operands, however small it is itself where they cancel.

One kind of rounding is the result's: a kernel that a pass put in place of a formula may be right to
a unit of 1 where the formula was to a unit of what it gives (`loses_tails`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import ExecutionError
from ...ir.core.variables import dense_values, subgraphs_of
from ...ir.graph.clone import clone
from ...ir.graph.edit import Edit
from ...ir.graph.uses import scopes
from ...ir.ops.inline_calls import written_out
from ...ir.ops.linear.operators import linear_operator
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.traits import traits_of
from ...ir.run.comparison import compare_outputs
from ...ir.run.reference import Arrays, Reference
from .float64 import in_float64, run_in_float64
from .operands import largest_of, summed_operands, sums
from .tails import loses_tails

Feed = Mapping[str, np.ndarray[Any, Any]]

# Significand bits of the stored types: one unit in the last place is 2 ** -bits, relative.
_SIGNIFICAND = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}
_DRAWS = 2
# Units of 1 that an output may move by where kernels that lose tails move by one.
_MOST_TAILS = 100


@dataclass(frozen=True)
class Rounding:
    """What rounding does to each output, by name.

    `moved`: the largest change of a float output, relative to its range. `cancelled`: that of an
    output which is 0 throughout, a sum of operands that cancel, as a number. `flipped`: the largest
    number of elements of another output, such as an index, that changed.
    """

    moved: dict[str, float] = field(default_factory=dict)
    cancelled: dict[str, float] = field(default_factory=dict)
    flipped: dict[str, int] = field(default_factory=dict)

    @property
    def largest(self) -> float:
        """The largest change of any float output."""
        return max(self.moved.values(), default=0.0)


def measure_rounding(
    graph: gs.Graph, feeds: Sequence[Feed], outputs: Sequence[Arrays], seed: int
) -> float:
    """Return the largest change of any float output, relative to its range; 0 without any.

    `outputs` are what the reference runtime gave for `feeds`.
    """
    return rounding_of(graph, feeds, outputs, seed).largest


def rounding_of(
    graph: gs.Graph, feeds: Sequence[Feed], outputs: Sequence[Arrays], seed: int
) -> Rounding:
    """Return what rounding does to each of `outputs`; see `measure_rounding`."""
    *_, found = roundings(graph, feeds, outputs, seed)
    return found


def roundings(
    graph: gs.Graph, feeds: Sequence[Feed], outputs: Sequence[Arrays], seed: int
) -> Iterator[Rounding]:
    """Yield what rounding does to each of `outputs`, as far as it was measured: no less later."""
    found = Rounding(
        {name: unit_of(array) for name, array in outputs[0].items() if _is_float(array)}
    )
    yield found
    for variant in _variants(graph, seed):
        try:
            run = Reference(variant)
            moved = [run(feed) for feed in feeds]
        except ExecutionError:
            continue
        _take_in(found, outputs, moved)
        yield found
    for name, operand in summed_operands(graph, feeds, outputs).items():
        change = unit_of(outputs[0][name]) * operand
        size = max(largest_of(arrays[name]) for arrays in outputs)
        if size:
            found.moved[name] = max(found.moved.get(name, 0.0), change / size)
        else:
            found.cancelled[name] = change
    yield found


def rounding_of_tails(
    graph: gs.Graph,
    feeds: Sequence[Feed],
    before: Sequence[Arrays],
    after: Sequence[Arrays],
    seed: int,
) -> dict[str, float]:
    """Return what a unit of 1 behind each kernel that loses tails does to the outputs of `graph`.

    The changes are of what the graph itself gives, and parts of the range of `before`: what was
    found in its stead, `after`, may be wrong. Only outputs that are moved by units of 1 themselves:
    of more, the tails are not rounding beside what they are read with, but what was to be told.
    Empty where there is no such kernel, or what is moved cannot be run.
    """
    written = written_out(graph)
    if not any(loses_tails(n, written) for s in scopes(written) for n in s.nodes):
        return {}
    changes = {
        tensor.name: unit_of(after[0][tensor.name])
        for tensor in written.outputs
        if tensor.inputs and loses_tails(tensor.inputs[0], written)
    }
    for draw in range(_DRAWS):
        run = _tails_moved(written, np.random.default_rng((seed, draw)))
        with contextlib.suppress(ExecutionError):
            own, moved = ([Reference(g)(feed) for feed in feeds] for g in (written, run))
            for name in (name for name, array in after[0].items() if _is_float(array)):
                changes[name] = max(changes.get(name, 0.0), _change(name, own, moved))
    sizes = {name: max(largest_of(arrays[name]) for arrays in before) for name in changes}
    return {
        name: change / sizes[name]
        for name, change in changes.items()
        if sizes[name] and change <= _MOST_TAILS * unit_of(after[0][name])
    }


def _change(name: str, own: Sequence[Arrays], moved: Sequence[Arrays]) -> float:
    """Return the largest change of an output that is finite, as a number."""
    with np.errstate(invalid="ignore"):
        return max(
            largest_of(a[name].astype(np.float64) - b[name].astype(np.float64))
            for a, b in zip(own, moved, strict=True)
        )


def unit_of(array: np.ndarray[Any, Any]) -> float:
    """Return what storing an output in its type does to it."""
    return 2.0 ** -_SIGNIFICAND.get(array.dtype.name, 23)


def _is_float(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind not in "iubOUS"


def rounding_in_float64(
    graph: gs.Graph, feeds: Sequence[Feed], outputs: Sequence[Arrays], seed: int, bits: int
) -> dict[str, float] | None:
    """Return what units of 2 ** -`bits` do to each of `outputs`, computed in float64.

    Nothing else rounds there: not the order of a sum, nor what cancels. None where nothing runs.
    """
    found = Rounding()
    wide = in_float64(graph)
    for variant in _variants(wide, seed, bits):
        moved = run_in_float64(variant, feeds)
        if moved is None:
            return None
        _take_in(found, outputs, moved)
    return found.moved


def _variants(graph: gs.Graph, seed: int, bits: int | None = None) -> Iterator[gs.Graph]:
    graph = written_out(graph)  # what is called rounds as well
    for draw in range(_DRAWS):
        generator = np.random.default_rng((seed, draw))
        yield _weights_moved(graph, generator, bits)
        yield _results_moved(graph, generator, bits)


def _unit(dtype: np.dtype[Any], bits: int | None) -> float:
    return 2.0 ** -(_SIGNIFICAND[dtype.name] if bits is None else bits)


def _take_in(found: Rounding, before: Sequence[Arrays], after: Sequence[Arrays]) -> None:
    after = [
        {name: moved[name] for name in kept} for kept, moved in zip(before, after, strict=True)
    ]
    for output in compare_outputs(before, after).outputs:
        arrays = [(a[output.name], b[output.name]) for a, b in zip(before, after, strict=True)]
        if _is_float(arrays[0][0]):
            if np.isfinite(output.max_rel):
                moved = found.moved.get(output.name, 0.0)
                found.moved[output.name] = max(moved, output.max_rel)
        else:
            count = sum(differing(a, b) for a, b in arrays)
            found.flipped[output.name] = max(found.flipped.get(output.name, 0), count)


def differing(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    """Return how many elements differ: all, where the shapes or types do."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return max(a.size, b.size, 1)
    return int(np.count_nonzero(a != b))


def _weights_moved(graph: gs.Graph, generator: np.random.Generator, bits: int | None) -> gs.Graph:
    copy = clone(graph)
    weights: dict[int, gs.Constant] = {}
    for scope in scopes(copy):
        for node in scope.nodes:
            if linear_operator(node) is not None or node.op == "BatchNormalization":
                for tensor in node.inputs[1:]:
                    if isinstance(tensor, gs.Constant) and dtypes.is_float(tensor.dtype):
                        weights[id(tensor)] = tensor
    for tensor in weights.values():
        values = dense_values(tensor)
        if values is not None and values.dtype.name in _SIGNIFICAND:
            unit = _unit(values.dtype, bits)
            # Rounding back makes about half of the weights move by one unit.
            change = 1 + unit * generator.uniform(-1, 1, values.shape)
            tensor._values = (values.astype(np.float64) * change).astype(values.dtype)
    return copy


def _results_moved(graph: gs.Graph, generator: np.random.Generator, bits: int | None) -> gs.Graph:
    """Return a copy with a product by 1 + d behind what rounds, and behind inputs that are summed.

    One d for each place along the last axis, or a single one where its size is open.
    """
    copy = clone(graph)
    rounding = [
        *_summed_inputs(copy),
        *(
            (node, result)
            for scope in scopes(copy)
            for node in scope.nodes
            for result in _rounded_results(node, scope.opset)
        ),
    ]
    _move(copy, rounding, "Mul", generator, bits)
    return copy


def _tails_moved(graph: gs.Graph, generator: np.random.Generator) -> gs.Graph:
    """Return a copy with a sum with d behind each kernel that loses tails."""
    copy = clone(graph)
    results = [
        (node, node.outputs[0])
        for scope in scopes(copy)
        for node in scope.nodes
        if loses_tails(node, copy)
    ]
    _move(copy, results, "Add", generator, None)
    return copy


def _move(
    graph: gs.Graph,
    results: Sequence[tuple[gs.Node, gs.Tensor]],
    op: str,
    generator: np.random.Generator,
    bits: int | None,
) -> None:
    """Put a product by 1 + d, or with `op` Add a sum with d, behind each of `results`."""
    types, start = infer_types(graph), 1 if op == "Mul" else 0
    with Edit(graph) as edit:
        for node, result in results:
            found = types.of(result)
            if found is None or found.dtype.name not in _SIGNIFICAND:
                continue
            last = found.shape[-1] if found.shape else None
            size = last if isinstance(last, int) else None
            signs = np.asarray(generator.choice((-1.0, 1.0), size))
            change = (start + _unit(found.dtype, bits) * signs).astype(found.dtype)
            moved = edit.variable(f"{result.name}_moved", found)
            edit.replace(result, moved)
            constant = edit.constant(change, f"{result.name}_change")
            edit.node(op, [result, constant], [moved], at=node)


def _summed_inputs(graph: gs.Graph) -> list[tuple[gs.Node, gs.Tensor]]:
    """Return each input of `graph` that a node adds up, with the first such node."""
    found: dict[int, tuple[gs.Node, gs.Tensor]] = {}
    inputs = {id(tensor) for tensor in graph.inputs}
    for node in graph.nodes:
        for tensor in node.inputs if sums(node, graph.opset) else ():
            if id(tensor) in inputs:
                found.setdefault(id(tensor), (node, tensor))
    return list(found.values())


def _rounded_results(node: gs.Node, opset: int) -> list[gs.Tensor]:
    """Return what `node` computes anew: the results of a branch or loop are those of its bodies."""
    if subgraphs_of(node):
        return [tensor for tensor in node.outputs if tensor.name]
    return node.outputs[:1] if _rounds(node, opset) else []


def _rounds(node: gs.Node, opset: int) -> bool:
    """Say whether `node` computes new values; others move or select, or give what was written."""
    traits = traits_of(node, opset)
    return traits.pure and not traits.exact and not traits.constant
