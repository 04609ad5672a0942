"""What ONNX Runtime really executed: its optimized model and its profile, read together.

Nodes get names of our own before the session is made. The runtime's fusions keep the name of the
operator at their core, with a suffix, so that what was executed leads back to a node of the model.
What carries no such name was inserted, and belongs to the layer beside it.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ....ir.graph.clone import clone
from ....ir.graph.uses import scopes
from ....ir.run.session import make_session, output_types, run_session

_TAG = re.compile(r"planish-(\d+)-")
_KERNEL = "_kernel_time"
# What ONNX Runtime inserts between layers, operators of its own among it.
_CONVERTERS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Transpose", "ReorderInput", "ReorderOutput", "Cast"}
)
_INTEGERS = frozenset({"int8", "uint8", "int4", "uint4"})
# ONNX Runtime's, which read floats and quantize them inside.
_OWN_GRID = frozenset({"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
_INTEGER_OPERATORS = ("QLinear", "QGemm")
_SECONDS = 2.0
_FEWEST, _MOST = 5, 60


@dataclass(kw_only=True)
class ExecutedNode:
    """One node of the optimized graph. `index`: the node of the model it leads back to.

    `ms`: its time in one run of the model, by the median; `types`: element types of inputs and
    outputs, as executed.
    """

    op: str
    index: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ms: float = 0.0
    input_types: tuple[str, ...] = ()
    output_types: tuple[str, ...] = ()
    beside: int | None = None

    @property
    def converts(self) -> bool:
        """Say whether it only changes type or layout."""
        return self.op in _CONVERTERS


@dataclass
class Execution:
    """The executed nodes in order, and the names that the model and the weights own."""

    nodes: list[ExecutedNode] = field(default_factory=list)
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    constants: frozenset[str] = frozenset()


def execute(
    graph: gs.Graph,
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    threads: int | None,
    places: Mapping[str, int],
) -> Execution:
    """Run `graph` a few times on `feeds` in turn under the profiler, bodies included.

    `places`: the `index` of each node by its first result, as far as it has one. Raises
    ExecutionError where the runtime refuses the graph or fails.
    """
    copy = clone(graph)
    nodes = [node for scope in scopes(copy) for node in scope.nodes]
    for index, node in enumerate(nodes):
        node.name = f"planish-{index}-"
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights"
        )
        if threads is not None:
            options.intra_op_num_threads = threads
        session = make_session(copy, options, ["CPUExecutionProvider"])
        runs = _run(session, feeds)
        with open(session.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
        model = onnx.load(Path(folder) / "optimized.onnx", load_external_data=False)
    return _Reader(nodes, places, _measured(events), runs).graph(model.graph)


def _run(session: ort.InferenceSession, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> int:
    """Run a few times; return how many."""
    outputs = output_types(session)
    started = time.perf_counter()
    for done in range(_MOST):
        run_session(session, outputs, feeds[done % len(feeds)])
        if done + 1 >= max(_FEWEST, len(feeds)) and time.perf_counter() - started > _SECONDS:
            break
    return done + 1


def _measured(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what the profile has of each node, by its name."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            found[event["name"].removesuffix(_KERNEL)].append(event)
    return found


class _Reader:
    """Reads the optimized model with its profile; `nodes` are those of the model before it."""

    def __init__(
        self,
        nodes: list[gs.Node],
        places: Mapping[str, int],
        measured: Mapping[str, list[dict[str, Any]]],
        runs: int,
    ) -> None:
        self._nodes, self._places = nodes, places
        self._measured, self._runs = measured, runs

    def graph(self, optimized: onnx.GraphProto) -> Execution:
        """Return what was executed of `optimized` and its bodies, these behind."""
        own = [self._node(proto) for proto in optimized.node]
        _place(own)
        bodies = [
            self.graph(attribute.g)
            for proto in optimized.node
            for attribute in proto.attribute
            if attribute.type == onnx.AttributeProto.GRAPH
        ]
        constants = {value.name for value in optimized.initializer}
        return Execution(
            [*own, *(node for body in bodies for node in body.nodes)],
            frozenset(value.name for value in optimized.input),
            frozenset(value.name for value in optimized.output),
            frozenset(constants.union(*(body.constants for body in bodies))),
        )

    def _node(self, proto: onnx.NodeProto) -> ExecutedNode:
        op = proto.op_type
        made = ExecutedNode(
            op=op, index=self._index(proto), inputs=tuple(proto.input), outputs=tuple(proto.output)
        )
        events = self._measured.get(proto.name)
        if events:  # a body runs several times, or not in every run
            middle = statistics.median(event["dur"] / 1000 for event in events)
            made.ms = middle * len(events) / self._runs
            listed = events[-1]["args"]
            made.input_types = _types(listed.get("input_type_shape", []))
            made.output_types = _types(listed.get("output_type_shape", []))
        return made

    def _index(self, proto: onnx.NodeProto) -> int | None:
        tag = _TAG.search(proto.name)
        if tag is None:
            return None
        node = self._nodes[int(tag[1])]
        # An inserted node may be named after the one that it was made for.
        if proto.op_type in _CONVERTERS and node.op != proto.op_type:
            return None
        named = next((t.name for t in node.outputs if t.name), "")
        return self._places.get(named)


def _types(listed: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(next(iter(entry), "") for entry in listed)


def _place(nodes: list[ExecutedNode]) -> None:
    """Give every conversion the layer beside it: its producer, else its first reader.

    A DequantizeLinear belongs to the one that reads it. Chains of conversions are walked once.
    """
    producer = {name: node for node in nodes for name in node.outputs if name}
    reader: dict[str, ExecutedNode] = {}
    for node in nodes:
        for name in filter(None, node.inputs):
            reader.setdefault(name, node)

    def behind(node: ExecutedNode) -> ExecutedNode | None:
        return next((reader[name] for name in node.outputs if name in reader), None)

    def before(node: ExecutedNode) -> ExecutedNode | None:
        return producer.get(node.inputs[0]) if node.inputs else None

    for node in nodes:
        if not node.converts and node.index is not None:
            continue
        steps = (behind, before) if node.op != "QuantizeLinear" else (before, behind)
        for step in steps:
            at = step(node)
            while at is not None and (at.converts or at.index is None):
                at = step(at)
            if at is not None:
                node.beside = at.index
                break


def precision_of(node: ExecutedNode) -> str:
    """Return the precision in which `node` computes: that of its first input and its result."""
    takes = next(iter(node.input_types), "")
    gives = next(iter(node.output_types), "")
    if node.op in _OWN_GRID:
        return "int8 -> float32"
    if not node.input_types and node.op.startswith(_INTEGER_OPERATORS):
        return "int8"  # in a branch that was not run
    # Concatenations of integers list scale and zero point before the first tensor.
    if node.op == "QLinearConcat":
        takes = gives
    if takes in _INTEGERS:
        return (
            "int8"
            if gives in _INTEGERS or gives not in ("float", "float16")
            else ("int8 -> float32")
        )
    return "float32" if takes in ("float", "") else takes
