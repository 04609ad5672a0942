"""Reference execution: ONNX Runtime on the CPU with all of its own optimizations off."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from ..core.build import make_variable
from ..core.errors import ExecutionError
from ..core.variables import exotic_type
from .feeds import check_feeds
from .rounded import rounded_between
from .session import make_session, output_types, run_session

_Level = ort.GraphOptimizationLevel

Arrays = dict[str, np.ndarray[Any, Any]]

# As many on every machine: how kernels share a sum out among threads shows in its last digits.
_THREADS = 4
# That a Loop may take: in a run, and in what is computed to become a constant.
_MOST_SECONDS, _MOST_SECONDS_FOLDED = 300.0, 20.0


class Reference:
    """A graph ready to run on the reference runtime.

    `optimized=True` switches the runtime's own optimizations on, as many as leave it a graph that
    it takes: the difference between the two is the yardstick of how much a network amplifies
    rounding. What is in bfloat16, for which the
    runtime has no kernels, is computed in float32 and rounded between nodes. Raises ExecutionError
    where it has no kernel for the graph.
    """

    def __init__(
        self, graph: gs.Graph, *, optimized: bool = False, threads: int | None = None
    ) -> None:
        self._graph = graph
        self._session = _any_session(graph, optimized, threads)
        types = output_types(self._session)
        ordinary = [t.name for t in graph.outputs if exotic_type(t) is None]
        self._outputs = {name: types[name] for name in ordinary}

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once: name -> array in, name -> array out. Raises FeedError or ExecutionError.

        The latter also where a Loop does not end within 300 seconds.
        """
        check_feeds(feeds, self._graph)
        return run_session(self._session, self._outputs, feeds, _MOST_SECONDS)


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
    part.outputs = [make_variable(t.name, t.dtype) for t in wanted]
    part.functions = list(graph.functions)
    session = _session(part, threads=1)
    found = run_session(session, output_types(session), {}, _MOST_SECONDS_FOLDED)
    sparse = [name for name, values in found.items() if not isinstance(values, np.ndarray)]
    if sparse:
        raise ExecutionError(f"tensor '{sparse[0]}' is sparse")
    return [found[tensor.name] for tensor in wanted]


def _any_session(graph: gs.Graph, optimized: bool, threads: int | None) -> ort.InferenceSession:
    try:
        return _optimized(graph, threads) if optimized else _session(graph, threads=threads)
    except ExecutionError:
        rounded = rounded_between(graph)
        if rounded is None:
            raise
    return _optimized(rounded, threads) if optimized else _session(rounded, threads=threads)


def _optimized(graph: gs.Graph, threads: int | None) -> ort.InferenceSession:
    """Return a session with as many optimizations as leave the runtime a graph that it takes.

    It fuses a Gelu whose half another node reads as well, and then misses that half; it moves
    int8 past a Reshape as uint8.
    """
    for level in (_Level.ORT_ENABLE_ALL, _Level.ORT_ENABLE_BASIC):
        with contextlib.suppress(ExecutionError):
            return _session(graph, level, threads)
    return _session(graph, threads=threads)


def _session(
    graph: gs.Graph, level: Any = _Level.ORT_DISABLE_ALL, threads: int | None = None
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    # Waiting threads that spin take the cores from what else runs; runs here are short.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = _THREADS if threads is None else threads
    return make_session(graph, options, ["CPUExecutionProvider"], share=True)
