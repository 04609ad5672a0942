"""Outputs on which a comparison shows nothing, whatever a pass did.

An output that is NaN, empty, one number throughout, or the same for all inputs that were tried is
the same after many a mistake. Outputs that no value of the inputs can reach, such as constants and
shapes, are what they are: comparing them once shows all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import ExecutionError, FeedError
from ...ir.graph.order import reads
from ...ir.ops.traits import traits_of
from ...ir.run.reference import Arrays

Feed = Mapping[str, np.ndarray[Any, Any]]
Array = np.ndarray[Any, Any]

# An index or a flag may come out the same by chance.
_TRIES = 6


def untelling(
    graph: gs.Graph,
    feeds: Sequence[Feed],
    outputs: Sequence[Arrays],
    run: Callable[[Feed], Arrays],
    seed: int,
) -> dict[str, str]:
    """Return the outputs that show nothing, each with what it is and what would tell.

    `outputs` are those for `feeds`. Where they do not vary, `run` is asked for those of other
    inputs, drawn from the values of the first feed.
    """
    reached = reached_outputs(graph)
    seen = {name: [each[name] for each in outputs] for name in outputs[0] if name in reached}
    generator = np.random.default_rng(seed)
    for _ in range(_TRIES):
        same = [name for name, arrays in seen.items() if _reason(arrays, varied=True)]
        other = _redrawn(feeds[0], generator)
        if not same or other is None:
            break
        try:
            found = run(other)
        except (ExecutionError, FeedError):
            break
        for name in same:
            seen[name].append(found[name])
    varied = {name: len(arrays) > 1 for name, arrays in seen.items()}
    reasons = {name: _reason(arrays, varied[name]) for name, arrays in seen.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def reached_outputs(graph: gs.Graph) -> set[str]:
    """Return the outputs that values of the graph's inputs can reach, not only their shapes."""
    reached = {id(t) for t in graph.inputs}
    for node in graph.nodes:
        if traits_of(node, graph.opset).constant or not any(id(t) in reached for t in reads(node)):
            continue
        reached.update(id(t) for t in node.outputs if t.name)
    return {t.name for t in graph.outputs if id(t) in reached}


def _reason(arrays: Sequence[Array], varied: bool) -> str:
    """Say what an output is, and which feeds would tell; empty where it tells something."""
    if not any(array.size for array in arrays):
        return "is empty; feeds on which it has elements would tell"
    values = [array.ravel() for array in arrays if array.size]
    if values[0].dtype.kind in "OUS":
        return ""
    finite = [_finite(each) for each in values]
    if not any(each.size for each in finite):
        return "is NaN or infinite throughout; feeds on which it is finite would tell"
    if any(len(each) < len(whole) for each, whole in zip(finite, values, strict=True)):
        return ""
    first = values[0][0]
    if varied and all(np.all(each == first) for each in values):
        return f"is {first} throughout; feeds on which it varies would tell"
    if varied and all(
        array.shape == arrays[0].shape and np.array_equal(array, arrays[0]) for array in arrays
    ):
        return "is the same for all inputs that were tried; feeds on which it varies would tell"
    return ""


def _finite(array: Array) -> Array:
    if array.dtype.kind in "iub":
        return array
    with np.errstate(invalid="ignore"):
        wide = array if array.dtype.kind in "fc" else array.astype(np.float32)
        found: Array = array[np.isfinite(wide)]
        return found


def _redrawn(feed: Feed, generator: np.random.Generator) -> Feed | None:
    """Return inputs of the same shapes with other elements, out of the same values; or None."""
    made = {name: _other(array, generator) for name, array in feed.items()}
    changed = any(not np.array_equal(made[name], array) for name, array in feed.items())
    return made if changed else None


def _other(array: Array, generator: np.random.Generator) -> Array:
    if not array.size or array.dtype.kind in "OUS":
        return array
    if np.all(array == array.flat[0]):
        return array if array.dtype.kind in "iub" else (array * 0.5 + 0.25).astype(array.dtype)
    found: Array = generator.choice(array.ravel(), array.shape)
    # Smaller as well, since the largest element is likely to be drawn again.
    part = generator.uniform(0.5, 1)
    return found if array.dtype.kind in "iub" else (found * part).astype(array.dtype)
