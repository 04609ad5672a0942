"""Whether the files of weights that a graph lies in are still as they were when it was read.

What is mapped shows what somebody writes to the file, at whatever moment: so a result counts only
once this was asked behind it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ..core.file_values import WeightFile, file_of
from ..graph.uses import scopes


def files_of(graph: gs.Graph) -> list[WeightFile]:
    """Return the files in which weights of `graph` lie, each once."""
    found: dict[int, WeightFile] = {}
    for scope in scopes(graph):
        for tensor in (t for node in scope.nodes for t in node.inputs):
            file = file_of(tensor) if isinstance(tensor, gs.Constant) else None
            if file is not None:
                found[id(file)] = file
    return list(found.values())


def require_unchanged(graph: gs.Graph) -> None:
    """Raise LoadError where a file in which weights of `graph` lie was written to since."""
    for file in files_of(graph):
        file.check()


@contextlib.contextmanager
def unchanged(graph: gs.Graph) -> Iterator[None]:
    """Run a block of which the outcome counts, an error too, only if no file was written to."""
    try:
        yield
    except Exception:
        require_unchanged(graph)
        raise
    require_unchanged(graph)
