"""Runs that end: a loop may have 2^63 trips, and nobody knows before."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import onnx_graphsurgeon as gs
import onnxruntime as ort

from ..graph.uses import scopes


def has_loops(graph: gs.Graph) -> bool:
    """Say whether there is a Loop in a graph, its bodies or its functions."""
    bodies = (scope for body in (graph, *graph.functions) for scope in scopes(body))
    return any(node.op == "Loop" for scope in bodies for node in scope.nodes)


@contextlib.contextmanager
def ending_after(seconds: float | None) -> Iterator[ort.RunOptions | None]:
    """Yield options of a run that is ended, between two nodes, after so long; None for never.

    Its `terminate` says whether it was.
    """
    if seconds is None:
        yield None
        return
    options = ort.RunOptions()
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()
