"""Layers of a report: what was executed and what was measured, put together node by node."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.durations import latency
from ....ir.core.variables import node_key, subgraphs_of
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE, converts, is_quantizer
from ....ir.ops.quantization.weights import stored_weight
from ....ir.ops.traits.groups import INTEGER_LAYERS, READ_NO_VALUES
from ....ir.ops.traits.lookup import traits_of
from ....ir.ops.traits.model import Movement
from ....passes.engine.context import Context
from ....passes.quantize.qdq.pairs import Pairs
from .executed import ExecutedNode, Execution, precision_of
from .report import Conversion, LayerReport, Precision, Quality

# Runs of float operators that another one takes in leave no name of their own behind.
_FEW = 5

# ONNX Runtime's operators that hold their scales themselves or find them.
_INTEGER_OPERATORS = (
    *("QLinear", "QGemm", "QAttention", "QEmbed", "QOrdered", "QMoE"),
    *("DynamicQuantize", "MatMulInteger", "ConvInteger", "MatMulNBits"),
)


def layers_of(
    graph: gs.Graph, execution: Execution, errors: Mapping[str, Mapping[str, float]]
) -> tuple[LayerReport, ...]:
    """Return the layers of `graph` in order, those of bodies behind."""
    pairs = Pairs(graph, Context(graph))
    nodes = pairs.nodes
    holders = holders_of(graph)
    place = {id(node): index for index, node in enumerate(nodes)}
    ran: dict[int, list[ExecutedNode]] = defaultdict(list)
    beside: dict[int, list[Conversion]] = defaultdict(list)
    for made in execution.nodes:
        index = made.index
        if index is not None and not _is_conversion(nodes[index], made):
            ran[index].append(made)
        elif made.beside is not None:
            beside[made.beside].append(_conversion(made, execution))
    into: dict[int, int] = {}
    fused: dict[int, list[str]] = defaultdict(list)
    for index, node in enumerate(nodes):
        if index in ran or converts(node):
            continue
        source = _source(node, pairs)
        at = None if source is None else place.get(id(source))
        if at is not None:
            into[index] = into.get(at, at)
            fused[into[index]].append(node_key(node))
    found = []
    for index, node in enumerate(nodes):
        if converts(node) or of_sizes(node, pairs.view(node)):
            continue
        done = ran[index]
        main = max(done, key=lambda n: (precision_of(n) == "int8", n.ms), default=None)
        precision = cast(Precision, "gone" if main is None else precision_of(main))
        if subgraphs_of(node):
            precision = "float32"  # what it reads first is a condition or a count
        measured = errors.get(node_key(node), {})
        found.append(
            LayerReport(
                node=node_key(node),
                op=str(node.op),
                precision=precision,
                ms=sum(n.ms for n in done),
                fused=tuple(fused[index]),
                fused_into=node_key(nodes[into[index]]) if index in into else None,
                conversions=tuple(beside[index]),
                why_float=_why_float(node, pairs) if precision == "float32" else None,
                local=measured.get("local", measured.get("rounding")),
                weights=measured.get("weights"),
                rounding=measured.get("rounding"),
                cumulative=measured.get("cumulative"),
                unknown=tuple(_unknown(node, measured, pairs, graph.opset)),
                inside=holders.get(id(node)),
            )
        )
    return tuple(found)


def of_sizes(node: gs.Node, view: View) -> bool:
    """Say whether `node` computes with sizes and indices alone: it is no layer."""
    if node.op in READ_NO_VALUES:
        return bool(node.outputs) and _is_index(node.outputs[0], view)
    read = [tensor for tensor in node.inputs if tensor.name]
    return bool(read) and all(_is_index(t, view) for t in (*read, *node.outputs) if t.name)


def _is_index(tensor: gs.Tensor, view: View) -> bool:
    return view.dtype(tensor) in (np.dtype(np.int64), np.dtype(np.bool_))


def is_whole(node: gs.Node) -> bool:
    """Say whether `node` computes on integers itself, by scales of its own or by none."""
    own = node.op in INTEGER_LAYERS or node.op.startswith(_INTEGER_OPERATORS)
    return own and not converts(node)


def is_layer(node: gs.Node, opset: int) -> bool:
    """Say whether `node` computes: passes put a Pad or Reshape beside the layers they change."""
    return traits_of(node, opset).movement > Movement.TAKE


def _unknown(node: gs.Node, measured: Mapping[str, float], pairs: Pairs, opset: int) -> list[str]:
    """Return the measures that `node` would have, and has not."""
    view = pairs.view(node)
    stored = len(node.inputs) > 1 and stored_weight(node.inputs[1], view) is not None
    weights = stored or is_whole(node)
    rounded = bool(node.outputs) and bool(
        pairs.behind(node.outputs[0]) or pairs.behind(pairs.result(node))
    )
    concerned = {
        "weights": weights,
        "local": weights or rounded,
        "cumulative": is_layer(node, opset),
    }
    known = {*measured, *(["local"] if "rounding" in measured else [])}
    return [name for name, concerns in concerned.items() if concerns and name not in known]


def holders_of(graph: gs.Graph) -> dict[int, str]:
    """Return, by id of each node in a body, what the node of `graph` is called that holds it."""
    return {
        id(inner): node_key(node)
        for node in graph.nodes
        for body in subgraphs_of(node)
        for scope in scopes(body)
        for inner in scope.nodes
    }


def _is_conversion(node: gs.Node, made: ExecutedNode) -> bool:
    return converts(node) or (made.converts and made.op != node.op)


def _conversion(made: ExecutedNode, execution: Execution) -> Conversion:
    if made.op in (QUANTIZE, DEQUANTIZE):
        if made.inputs[0] in execution.constants:
            return Conversion(made.op, "weights", made.ms)
        if made.inputs[0] in execution.inputs or made.outputs[0] in execution.outputs:
            return Conversion(made.op, "border", made.ms)
        return Conversion(made.op, "activations", made.ms)
    return Conversion(made.op, "inserted", made.ms)


def _source(node: gs.Node, pairs: Pairs) -> gs.Node | None:
    """Return the operator whose result `node` reads first, past a pair."""
    if not node.inputs:
        return None
    pair = pairs.before(node.inputs[0])
    return pairs.views.producer(node.inputs[0] if pair is None else pair.source)


def _why_float(node: gs.Node, pairs: Pairs) -> str | None:
    """Say what about the model keeps `node` from an integer kernel, None where it should have one.

    None for an operator without pairs around it, which was left in float on purpose.
    """
    view = pairs.view(node)
    reads = [t for t in node.inputs if pairs.before(t) is not None]
    writes = pairs.behind(pairs.result(node)) or pairs.behind(node.outputs[0])
    if not reads and not writes:
        return None
    if not reads:
        return "its input is not quantized"
    if not pairs.is_unit(node):
        result = pairs.result(node)
        if view.is_output(result):
            return "its result is a graph output, not quantized"
        if not writes:
            return "its result is not quantized"
        if any(not is_quantizer(reader) for reader in view.readers(result)):
            return "its result is read in float too"
        return "one of its inputs is not quantized"
    given = [_type_of(p, pairs) for p in (pairs.before(reads[0]), *writes[:1]) if p is not None]
    if len(set(given)) > 1:
        return f"it reads {given[0]} and gives {given[1]}"
    if any(view.fan_out(p.quantizer.outputs[0]) > 1 for p in writes) and given == ["int8"] * 2:
        return (
            "ONNX Runtime turns int8 into uint8 except where a tensor has several readers, and has "
            "no kernel for a mixture; quantize activations as uint8"
        )
    return "ONNX Runtime has no integer kernel for it, or did not use it"


def _type_of(pair: object, pairs: Pairs) -> str:
    quantizer = pair.quantizer  # type: ignore[attr-defined]
    view = pairs.view(quantizer)
    zero = view.constant(quantizer.inputs[2]) if len(quantizer.inputs) > 2 else None
    return "uint8" if zero is None else str(zero.dtype)


def remarks_of(
    layers: Sequence[LayerReport], execution: Execution, before: Quality, original: Quality
) -> list[str]:
    """Return what concerns several layers, the most time first."""
    found: list[tuple[float, str]] = []
    kinds: dict[tuple[str, str], list[tuple[str, Conversion]]] = defaultdict(list)
    for layer in layers:
        for conversion in layer.conversions:
            kinds[conversion.kind, conversion.of].append((layer.op, conversion))
    for (kind, of), entries in kinds.items():
        if of == "border":
            continue
        ms = sum(conversion.ms for _, conversion in entries)
        around = Counter(op for op, _ in entries).most_common(3)
        where = ", ".join(f"{count} {op}" for op, count in around)
        what = {
            "weights": "run on constant weights at every inference",
            "activations": "were left unfused",
            "inserted": "were inserted by the runtime",
        }[of]
        found.append((ms, f"{len(entries)} {kind} {what}, {latency(ms / 1e3)}, beside {where}"))
    reasons: dict[tuple[str, str], list[LayerReport]] = defaultdict(list)
    for layer in layers:
        if layer.why_float is not None:
            reasons[layer.op, layer.why_float].append(layer)
    for (op, why), those in reasons.items():
        ms = sum(layer.ms for layer in those)
        found.append((ms, f"{len(those)} {op} ran in float32, {latency(ms / 1e3)}: {why}"))
    unplaced = sum(n.ms for n in execution.nodes if n.index is None and n.beside is None)
    if unplaced > 0.05 * before.ms:
        found.append((unplaced, f"{latency(unplaced / 1e3)} belong to no layer"))
    inside = [layer for layer in layers if layer.inside is not None and layer.local is None]
    ordered = [text for _, text in sorted(found, key=lambda item: -item[0])]
    if inside:
        some = ", ".join(layer.node for layer in inside[:_FEW])
        more = ", ..." if len(inside) > _FEW else ""
        ordered.append(
            f"{counted(len(inside), 'operator of a body runs', 'operators of bodies run')} where "
            f"errors are not measured, only what was executed: {some}{more}"
        )
    if before.ms > original.ms:
        times = " against ".join(latency(each.ms / 1e3) for each in (before, original))
        ordered.insert(0, f"it is slower than float: {times}")
    return ordered
