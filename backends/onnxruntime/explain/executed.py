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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ....ir.graph.clone import clone
from ....ir.run.session import make_session, output_types, run_session

_TAG = re.compile(r"planish-(\d+)-")
_KERNEL = "_kernel_time"
# What ONNX Runtime inserts between layers, operators of its own among it.
_CONVERTERS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Transpose", "ReorderInput", "ReorderOutput", "Cast"}
)
_INTEGERS = frozenset({"int8", "uint8", "int4", "uint4"})
_SECONDS = 2.0
_FEWEST, _MOST = 5, 60


@dataclass(kw_only=True)
class ExecutedNode:
    """One node of the optimized graph. `index`: the node of the model it leads back to.

    `ms`: median of its time; `types`: element types of inputs and outputs, as executed.
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
    graph: gs.Graph, feed: Mapping[str, np.ndarray[Any, Any]], threads: int | None
) -> Execution:
    """Run `graph` a few times under the profiler; `index` counts its nodes in order.

    Raises ExecutionError where the runtime refuses the graph or fails.
    """
    copy = clone(graph)
    for index, node in enumerate(copy.nodes):
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
        _run(session, feed)
        with open(session.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
        model = onnx.load(Path(folder) / "optimized.onnx", load_external_data=False)
    found = _read(model.graph, copy)
    _time(found, model.graph, events)
    _place(found)
    return found


def _run(session: ort.InferenceSession, feed: Mapping[str, np.ndarray[Any, Any]]) -> None:
    outputs = output_types(session)
    started = time.perf_counter()
    for done in range(_MOST):
        run_session(session, outputs, feed)
        if done + 1 >= _FEWEST and time.perf_counter() - started > _SECONDS:
            break


def _read(optimized: onnx.GraphProto, graph: gs.Graph) -> Execution:
    nodes = []
    for node in optimized.node:
        tag = _TAG.search(node.name)
        index = int(tag[1]) if tag else None
        op = node.op_type
        # An inserted node may be named after the one that it was made for.
        if index is not None and op in _CONVERTERS and graph.nodes[index].op != op:
            index = None
        nodes.append(
            ExecutedNode(op=op, index=index, inputs=tuple(node.input), outputs=tuple(node.output))
        )
    return Execution(
        nodes,
        frozenset(value.name for value in optimized.input),
        frozenset(value.name for value in optimized.output),
        frozenset(value.name for value in optimized.initializer),
    )


def _time(found: Execution, optimized: onnx.GraphProto, events: list[dict[str, Any]]) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    types: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            name = event["name"].removesuffix(_KERNEL)
            times[name].append(event["dur"] / 1000)
            types[name] = event["args"]
    for node, proto in zip(found.nodes, optimized.node, strict=True):
        if proto.name in times:
            node.ms = statistics.median(times[proto.name])
            node.input_types = _types(types[proto.name].get("input_type_shape", []))
            node.output_types = _types(types[proto.name].get("output_type_shape", []))


def _types(listed: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(next(iter(entry), "") for entry in listed)


def _place(found: Execution) -> None:
    """Give every conversion the layer beside it: its producer, else its first reader.

    A DequantizeLinear belongs to the one that reads it. Chains of conversions are walked once.
    """
    producer = {name: node for node in found.nodes for name in node.outputs if name}
    reader: dict[str, ExecutedNode] = {}
    for node in found.nodes:
        for name in node.inputs:
            reader.setdefault(name, node)

    def behind(node: ExecutedNode) -> ExecutedNode | None:
        return next((reader[name] for name in node.outputs if name in reader), None)

    def before(node: ExecutedNode) -> ExecutedNode | None:
        return producer.get(node.inputs[0])

    for node in found.nodes:
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
