"""Take nodes of a quantized graph back to float.

    Q(Conv(DQ(Q(x)), DQ(w_q))) -> DQ      becomes      Conv(x, w)

A pair goes where nothing else needs it. An operator that still runs on integers needs the pairs on
all sides of it, so between it and a node taken back one pair stays: the integers must become floats
somewhere. What only moves data between nodes taken back goes back with them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from ...ir.files.load import load
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.quantization.nodes import converts
from ...ir.ops.quantization.pairs import Pair
from ...ir.ops.quantization.weights import stored_weight
from ..engine.context import Context
from ..engine.contract import Pass
from ..engine.node_names import check_node_names
from .qdq.dropped_bounds import insert_bounds
from .qdq.match_float import FloatMatch, match_float
from .qdq.pairs import Pairs
from .qdq.units import is_movement
from .quantize.capture_barrier import insert_capture_barriers

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class DequantizeNodes(Pass):
    """Take nodes of a quantized graph back to float, with the pairs that only they need.

    - `nodes`: their names.
    - `float-model`: the file of the model before quantization, whose weights they get back; without
      it, their integer weights are dequantized.

    Where a pair has one scale before and others behind, a Mul takes its place.
    """

    name: ClassVar[str] = "dequantize-nodes"
    exact: ClassVar[bool] = False

    nodes: tuple[str, ...] = ()
    float_model: str = ""

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Find the nodes and take them back."""
        check_node_names(graph, "nodes", self.nodes)
        found = match_float(graph, load(self.float_model)) if self.float_model else FloatMatch()
        restore_to_float(graph, context, self.nodes, found)


def restore_to_float(
    graph: gs.Graph, context: Context, names: Collection[str], original: FloatMatch
) -> None:
    """Take the nodes called `names` (see `node_key`), in bodies too, back to float.

    `original`: what the float model says of weights and bounds, as far as it is known.
    """
    pairs = Pairs(graph, context)
    wanted = frozenset(names)
    chosen = [node for node in pairs.nodes if node_key(node) in wanted and not converts(node)]
    needed, freed = _kept_on_integers(pairs, chosen)
    around = {id(p.quantizer): p for node in (*chosen, *freed) for p in pairs.around(node)}
    with context.editing() as edit:
        for pair in around.values():
            _release(pair, pairs, needed, edit, original)
        for node in chosen:
            _restore_weights(node, pairs.view(node), edit, original)
        for scope in list(context.uses.scopes(graph)):  # bodies may read what pairs stood before
            insert_capture_barriers(scope, edit, context.view(scope))


def _kept_on_integers(pairs: Pairs, chosen: Collection[gs.Node]) -> tuple[set[int], list[gs.Node]]:
    """Return the ids of the operators that stay, and the movements that go with `chosen`."""
    left = {id(node) for node in chosen}
    units = [n for n in pairs.nodes if pairs.is_unit(n) and id(n) not in left]
    anchored = _reached(pairs, [node for node in units if not is_movement(node)], left)
    freed = [
        node
        for node in _reached(pairs, chosen, left).values()
        if id(node) not in anchored and id(node) not in left
    ]
    gone = {id(node) for node in freed}
    return {id(node) for node in units if id(node) not in gone}, freed


def _reached(
    pairs: Pairs, starts: Collection[gs.Node], blocked: Collection[int]
) -> dict[int, gs.Node]:
    """Return `starts` and the movements that pairs join to them, directly or through others."""
    found = {id(node): node for node in starts}
    pending = list(starts)
    while pending:
        node = pending.pop()
        for pair in pairs.around(node):
            producer = pairs.producer(pair)
            for other in (*pairs.readers(pair), *([] if producer is None else [producer])):
                if id(other) in found or id(other) in blocked:
                    continue
                if is_movement(other) and pairs.is_unit(other):
                    found[id(other)] = other
                    pending.append(other)
    return found


def _release(
    pair: Pair, pairs: Pairs, needed: Collection[int], edit: Edit, original: FloatMatch
) -> None:
    """Let what no longer needs `pair` read its source, and remove it where nothing is left."""
    view = pairs.view(pair.quantizer)
    producer = pairs.producer(pair)
    if producer is not None and id(producer) in needed:
        return
    insert_bounds(pair, view, edit, original)
    ratio = pair.ratio(view)
    source: gs.Tensor | None = None
    for node in pair.dequantizers:
        result = node.outputs[0]
        for reader in view.readers(result):
            if id(reader) in needed or not edit.begin():
                continue
            source = _scaled(pair, ratio, view, edit) if source is None else source
            for position, tensor in enumerate(reader.inputs):
                if tensor is result:
                    edit.set_input(reader, position, source)
        if view.readers(result):
            continue
        if view.is_output(result):
            _show(node, pair, ratio, view, edit)
        elif edit.begin():
            edit.remove(node)
    if not any(map(view.reads, pair.quantizer.outputs)) and edit.begin():
        edit.remove(pair.quantizer)


def _scaled(pair: Pair, ratio: Array | None, view: View, edit: Edit) -> gs.Tensor:
    """Return what `pair` gives beside rounding: its source, times `ratio` where that is not 1."""
    if ratio is None:
        return pair.source
    made = edit.variable(f"{pair.source.name}_unscaled", view.type(pair.source))
    _multiply(pair, ratio, made, edit)
    return made


def _multiply(pair: Pair, ratio: Array, result: gs.Tensor, edit: Edit) -> None:
    factor = edit.constant(ratio.astype(np.float32), f"{result.name}_factor")
    edit.node("Mul", [pair.source, factor], [result], at=pair.quantizer)


def _show(node: gs.Node, pair: Pair, ratio: Array | None, view: View, edit: Edit) -> None:
    """Let the producer of the source of `pair` make the graph output that `node` makes."""
    if ratio is not None:
        if edit.begin():
            edit.remove(node)
            _multiply(pair, ratio, node.outputs[0], edit)
        return
    producer = view.producer(pair.source)
    if producer is None or view.is_output(pair.source) or not edit.begin():
        return  # two names of the interface stand on either side
    edit.remove(node)
    edit.rename_output(producer, pair.source, node.outputs[0])


def _restore_weights(node: gs.Node, view: View, edit: Edit, original: FloatMatch) -> None:
    for position, tensor in enumerate(node.inputs):
        found = stored_weight(tensor, view) if tensor.name else None
        if found is None or not edit.begin():
            continue
        values = original.weights.get((node_key(node), position))
        if values is None or values.shape != found.values.shape:
            values = found.values if found.original is None else found.original
        name = tensor.name.removesuffix("_dequantized").removesuffix("_DequantizeLinear_Output")
        edit.set_input(node, position, edit.constant(values.astype(found.values.dtype), name))
        _collect(tensor, view, edit)


def _collect(tensor: gs.Tensor, view: View, edit: Edit) -> None:
    """Remove the nodes that made a weight which nothing reads any more."""
    while tensor.name and not view.readers(tensor) and not view.is_output(tensor):
        node = view.producer(tensor)
        if node is None:
            return
        edit.remove(node)
        tensor = node.inputs[0]
