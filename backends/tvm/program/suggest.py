"""A refusal of a graph of open sizes says which sizes to give: with them known, more can run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError, FeedError
from ....ir.run.feeds import is_size, random_feeds


@contextlib.contextmanager
def sizes_suggested(graph: gs.Graph) -> Iterator[None]:
    """Add to a BackendError raised inside which sizes of the inputs of `graph` to set."""
    try:
        yield
    except BackendError as error:
        options = _options(graph)
        if options:
            error.args = (f"{error}; sizes of its inputs are open, give them: {options}",)
        raise


def _options(graph: gs.Graph) -> str:
    """Return the options of commands that set typical sizes, empty where all are known."""
    try:
        drawn = random_feeds(graph)[0]
    except FeedError:
        return ""
    return " ".join(
        f"--input-shape {t.name}={','.join(map(str, drawn[t.name].shape))}"
        for t in graph.inputs
        if t.name in drawn and not all(map(is_size, t.shape or ()))
    )
