"""How far two graphs are apart, run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import GraphError
from ..core.variables import exotic_type
from ..files.given import Model, as_graph
from ..metrics.choose import AUTO, MetricOptions
from ..metrics.labels import label_names
from ..metrics.user import metric_text
from .comparison import Comparison, OutputsComparer
from .feeds import in_types_of, random_feeds
from .given_feeds import require_feeds
from .reference import Reference
from .replay import replayable

Array = np.ndarray[Any, Any]


def compare(
    graph_a: Model,
    graph_b: Model,
    feeds: Iterable[Mapping[str, Array]] | None = None,
    *,
    metric: str | Callable[..., Any] = AUTO,
    class_axis: int | None = None,
    labels: str | Sequence[str] = (),
) -> Comparison:
    """Run both graphs on the reference runtime over `feeds` and compare their outputs.

    Graphs may be given as paths of files. Without feeds, one is drawn at random.
    Outputs are matched by name, or by position where the names differ but their number does not.
    Floats go into `graph_b` and come out of it in the types of its inputs and outputs, which may be
    narrower. What they mean is read from `graph_a` and its values; `metric` names it otherwise
    (`classification`, `sequence`, `segmentation`, `detection`, `image`, `heatmap`, `embedding`,
    `sqnr`, or a function of your own, itself or as `file.py:function`), and `class_axis` where
    their classes are. `labels`: entries of the feeds that are no inputs; the first says what is
    right.

    Raises FeedError, ExecutionError, GraphError where the outputs cannot be matched, or
    RefusedError where the metric asked for fits none.
    """
    graph_a, graph_b = as_graph(graph_a), as_graph(graph_b)
    require_feeds(feeds, graph_a)
    options = MetricOptions(metric_text(metric), class_axis, label_names(labels))
    run_a, run_b = Reference(graph_a), Reference(graph_b)
    pairs = _pairs(_tensor_outputs(graph_a), _tensor_outputs(graph_b))
    total = OutputsComparer(graph_a, options)
    user = options.users()
    with replayable(random_feeds(graph_a) if feeds is None else feeds) as given:
        assert given is not None
        for feed in given:
            inputs = {name: array for name, array in feed.items() if name not in options.labels}
            a, b = run_a(inputs), run_b(in_types_of(inputs, graph_b))
            total.add(
                feed, {x: a[x] for x, _ in pairs}, {x: _widened(b[y], a[x]) for x, y in pairs}
            )
        found = total.result()
        if user is None:
            return found
        names = frozenset(tensor.name for tensor in graph_a.inputs)
        own, other = (user.values(run, names, given) for run in (run_a, run_b))
        return replace(found, metrics=(user.result(other, own),), chosen=())


def _widened(found: Array, like: Array) -> Array:
    """Return floats in the type of `like`, where that is of floats too."""
    both = dtypes.is_float(found.dtype) and dtypes.is_float(like.dtype)
    return found.astype(like.dtype, copy=False) if both else found


def _tensor_outputs(graph: gs.Graph) -> list[str]:
    """Return the outputs that have a distance: sequences, optionals and maps have none."""
    names = [t.name for t in graph.outputs if exotic_type(t) is None]
    if not names:
        raise GraphError(
            f"graph '{graph.name}' has no output that is a tensor, so there is nothing to compare; "
            "add one"
        )
    return names


def _pairs(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    if set(a) == set(b):
        return [(name, name) for name in a]
    if len(a) == len(b):
        return list(zip(a, b, strict=True))
    raise GraphError(
        f"the graphs have {len(a)} and {len(b)} outputs ({', '.join(a)} and {', '.join(b)}); "
        "only graphs with the same outputs can be compared"
    )
