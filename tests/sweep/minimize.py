"""A smaller model with the same fault: outputs dropped, nodes cut off or bypassed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from .check import Fault
from .pruning import prune
from tests.strategies.random_graphs import Drawn
from tests.strategies.random_graphs.builder import info
from tests.strategies.random_graphs.evaluate import run_session, session_of

_MOST_TRIES = 400


def minimized(
    drawn: Drawn,
    fault: Fault,
    verdict: Callable[[Drawn], Fault | None],
    most_tries: int = _MOST_TRIES,
) -> Drawn:
    """Return a smaller graph with one feed, for which `verdict` names the kind of `fault`."""
    tries = 0
    best = _only(drawn, fault.feed)
    if not _same(best, fault, verdict):
        return drawn
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(best):
            tries += 1
            if tries > most_tries:
                return best
            if _same(candidate, fault, verdict):
                best, progress = candidate, True
                break
    return best


def _only(drawn: Drawn, feed: int) -> Drawn:
    return Drawn(model=drawn.model, feeds=[drawn.feeds[feed]], outputs=[drawn.outputs[feed]])


def _same(drawn: Drawn, fault: Fault, verdict: Callable[[Drawn], Fault | None]) -> bool:
    found = verdict(drawn)
    return found is not None and found.kind == fault.kind


def _smaller(drawn: Drawn) -> Iterator[Drawn]:
    model, feed = drawn.model, dict(drawn.feeds[0])
    arrays = _inner(model, feed)
    if len(model.graph.output) > 1:
        for output in model.graph.output:
            yield from _made(model, feed, arrays, outputs=[output.name])
        for output in model.graph.output:
            kept = [o.name for o in model.graph.output if o.name != output.name]
            yield from _made(model, feed, arrays, outputs=kept)
    for node in model.graph.node:
        made = [n for other in model.graph.node for n in other.output if n in arrays]
        inner = [n for n in made if n in node.input]
        if any(output.name in node.output for output in model.graph.output):
            yield from (d for n in inner for d in _made(model, feed, arrays, outputs=[n]))
    if model.graph.value_info:
        yield from _made(model, feed, arrays, plain=True)
    for position in range(len(model.graph.node)):
        yield from _made(model, feed, arrays, cut=position)
    for position in reversed(range(len(model.graph.node))):
        yield from _made(model, feed, arrays, bypass=position)


def _inner(model: onnx.ModelProto, feed: dict) -> dict[str, np.ndarray]:
    """Return the values of what has one as an array: no sequences, and no narrow types."""
    names = [name for node in model.graph.node for name in node.output if name]
    found = _values(model, feed, names)
    if found is None:
        found = {}
        for name in names:
            found |= _values(model, feed, [name]) or {}
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    return {**arrays, **feed}


def _values(model: onnx.ModelProto, feed: dict, names: list[str]) -> dict | None:
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:]
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    try:
        return run_session(session_of(wide), feed)
    except Exception:  # the binding raises one class per status code
        return None


def _made(
    model: onnx.ModelProto,
    feed: dict,
    arrays: dict[str, np.ndarray],
    *,
    outputs: list[str] | None = None,
    cut: int | None = None,
    bypass: int | None = None,
    plain: bool = False,
) -> Iterator[Drawn]:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    feed = dict(feed)
    graph = made.graph
    if outputs is not None:
        if any(name not in arrays for name in outputs):
            return  # a constant
        del graph.output[:]
        graph.output.extend(info(name, arrays[name]) for name in outputs)
    if plain:
        del graph.value_info[:]
    if cut is not None:
        node = graph.node[cut]
        if any(name and name not in arrays for name in node.output):
            return
        for name in filter(None, node.output):
            graph.input.append(info(name, arrays[name], arrays[name].shape))
            feed[name] = arrays[name]
        del graph.node[cut]
    if bypass is not None and not _bypass(graph, bypass, arrays):
        return
    prune(graph)
    read = {value.name for value in graph.input}
    feed = {name: array for name, array in feed.items() if name in read}
    try:
        found = run_session(session_of(made), feed)
    except Exception:
        return
    yield Drawn(model=made, feeds=[feed], outputs=[found])


def _bypass(graph: onnx.GraphProto, position: int, arrays: dict[str, np.ndarray]) -> bool:
    node = graph.node[position]
    initial = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    output = node.output[0]
    if output not in arrays:
        return False
    for name in node.input:
        array = arrays.get(name, initial.get(name))
        if array is None or len(node.output) > 1 or output in {o.name for o in graph.output}:
            continue
        wanted = arrays[output]
        if (array.dtype, array.shape) == (wanted.dtype, wanted.shape):
            for other in graph.node:
                for i, read in enumerate(other.input):
                    if read == output:
                        other.input[i] = name
            del graph.node[position]
            return True
    return False
