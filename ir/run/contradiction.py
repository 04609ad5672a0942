"""Whether a graph contradicts itself: no runtime runs it, whoever stumbles over it.

A weight has the wrong rank, a Reshape asks for sizes that do not come out, a scale has one element
too many. What reads such a node may raise anything; that is no mistake of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import ExecutionError, GraphError, PlanishError
from ..ops.shapes.infer import infer_types
from .feeds import random_feeds
from .reference import Reference

# What ONNX Runtime says of operators, types and versions that it lacks: others may have them.
_LACKS = (
    "is not a registered function/op",
    "Could not find an implementation",
    "NOT_IMPLEMENTED",
    "No Op registered",
    "No opset import",
    "is under development",
    "Unsupported model IR version",
    "not supported",
    "not currently registered or supported",
)


class Contradiction:
    """What contradicts in a graph that stays as it is, found when somebody first asks."""

    def __init__(self, graph: gs.Graph) -> None:
        self._graph = graph
        self._found: list[str | None] = []

    def __call__(self) -> str | None:
        """Return what contradicts, in words; None where nothing does, or nobody can tell."""
        if not self._found:
            self._found.append(_inferred(self._graph) or _refused(self._graph))
        return self._found[0] and f"the graph contradicts itself: {self._found[0]}"


@contextlib.contextmanager
def contradiction_told(graph: gs.Graph) -> Iterator[None]:
    """Raise GraphError for whatever else is raised inside, where `graph` contradicts itself."""
    try:
        yield
    except (PlanishError, MemoryError):
        raise
    except Exception as error:
        reason = Contradiction(graph)()
        if reason is None:
            raise
        raise GraphError(reason) from error


def _inferred(graph: gs.Graph) -> str | None:
    return infer_types(graph).problem


def _refused(graph: gs.Graph) -> str | None:
    """Return why ONNX Runtime does not run `graph`; None where it does, or that shows nothing.

    Integers that are fed may be sizes or indices: what becomes of any others shows nothing.
    """
    try:
        runs = Reference(graph, threads=1)
        if all(dtypes.is_float(tensor.dtype) for tensor in graph.inputs):
            runs(next(iter(random_feeds(graph))))
    except ExecutionError as error:
        return None if any(words in str(error) for words in _LACKS) else str(error)
    except PlanishError:
        return None
    return None
