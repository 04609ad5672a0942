"""Reference execution: ONNX Runtime on the CPU with all of its own optimizations off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from .feeds import check_feeds
from .session import make_session, run_session
from .variables import exotic_type

Arrays = dict[str, np.ndarray[Any, Any]]


class Reference:
    """A graph ready to run on the reference runtime.

    `optimized=True` switches the runtime's own optimizations on: the difference between the two is
    the yardstick of how much a network amplifies rounding. Raises ExecutionError where the runtime
    has no kernel for the graph.
    """

    def __init__(
        self, graph: gs.Graph, *, optimized: bool = False, threads: int | None = None
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            if optimized
            else ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        )
        if threads is not None:
            options.intra_op_num_threads = threads
        self._graph = graph
        self._session = make_session(graph, options, ["CPUExecutionProvider"])
        self._names = [t.name for t in graph.outputs if exotic_type(t) is None]

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError."""
        check_feeds(feeds, self._graph)
        return run_session(self._session, self._names, feeds)


def run_reference(
    graph: gs.Graph, feeds: Iterable[Mapping[str, np.ndarray[Any, Any]]]
) -> list[Arrays]:
    """Run every feed through `graph` on the reference runtime and return the outputs of each."""
    run = Reference(graph)
    return [run(feed) for feed in feeds]


def evaluate(
    graph: gs.Graph, nodes: Sequence[gs.Node], wanted: Sequence[gs.Tensor]
) -> list[np.ndarray[Any, Any]]:
    """Compute the tensors `wanted` from `nodes`, whose inputs are constants or each other.

    `graph` gives opset and functions; it is not changed. Raises ExecutionError where the runtime
    has no kernel for a node or it fails.
    """
    part = gs.Graph(
        opset=graph.opset, import_domains=graph.import_domains, ir_version=graph.ir_version
    )
    part.nodes = list(nodes)
    part.outputs = [gs.Variable(t.name, t.dtype, None) for t in wanted]
    part.functions = list(graph.functions)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = make_session(part, options, ["CPUExecutionProvider"])
    found = run_session(session, [tensor.name for tensor in wanted], {})
    return [found[tensor.name] for tensor in wanted]
