"""Inputs on which one term of a layer shows that is wrong: numbers at few places, 0 elsewhere.

Where a graph is one window, a result there is held against the terms that it is a sum of, as a
proof holds it, and what the runtime gives has to show the difference as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import ExecutionError
from ....ir.proof.axes.locality import WindowAxes
from ....ir.proof.axes.open_sizes import Look
from ....ir.proof.digests import Digests
from ....ir.proof.evaluation import BothSides
from ....ir.proof.sides import PairedSizes, Side
from ....ir.proof.sparse import SparseDraw
from ....ir.proof.term_draws import DrawnTerms, term_draws
from ....ir.proof.values import UnsupportedError
from ....ir.proof.windows import ProofWindow, cone
from ....ir.run.feeds import Feed
from ....ir.run.reference import Reference

# Of the terms: what float32 does to a sum of few is far less, and proofs refuse less than this.
_WRONG = 1e-5
_MOST_NODES = 64


@dataclass(frozen=True)
class WrongTerm:
    """The input, the output that differs, and by how much."""

    feed: Feed
    output: str
    message: str


def wrong_term(before: gs.Graph, after: gs.Graph, seed: int) -> WrongTerm | None:
    """Return an input on which a term of `after` is not that of `before`; None if none is found."""
    digests = Digests()
    sides = Side(before, digests), Side(after, digests)
    for window, look in _whole(sides):
        opsets = int(before.opset), int(after.opset)
        points = BothSides(window=window, look=look, opsets=opsets, seed=(seed,))
        try:
            wrong = next((each for each in term_draws(points, _WRONG) if each.far > _WRONG), None)
        except UnsupportedError:
            continue
        if wrong is None:
            continue
        points, single = wrong.points, _single(wrong)
        feed = {
            a.name: value.array[:1].reshape(look.shapes[a.name]).astype(value.dtype)
            for (a, _), value in zip(window.inputs, points.numbers(single), strict=True)
        }
        message = _shown(before, after, feed, window, points.magnitudes(single)[0])
        if message:
            return WrongTerm(feed, window.output[1].name, message)
    return None


def _whole(sides: tuple[Side, Side]) -> Iterator[tuple[ProofWindow, Look]]:
    """Yield the windows that compute outputs from the inputs of the graphs, with their sizes."""
    types = PairedSizes(*sides).base
    opsets = int(sides[0].graph.opset), int(sides[1].graph.opset)
    given = {tensor.name for tensor in sides[0].graph.inputs}
    for pair in zip(sides[0].graph.outputs, sides[1].graph.outputs, strict=True):
        early, late = (cone(side, tensor, ()) for side, tensor in zip(sides, pair, strict=True))
        if early is None or late is None or len(early.nodes) + len(late.nodes) > _MOST_NODES:
            continue
        names = sorted({*early.begins, *late.begins})
        if not given.issuperset(names):
            continue  # what is a loop's own
        inputs = [(sides[0].tensors[name], sides[1].tensors[name]) for name in names]
        window = ProofWindow(early.nodes, late.nodes, inputs, pair)
        axes = WindowAxes(window, types, types, opsets)
        made = (
            types[at].get(t.name)
            for at, c in enumerate((early, late))
            for n in c.nodes
            for t in n.outputs
        )
        if len(axes.own) == len(inputs) and not any(t and dtypes.is_half(t.dtype) for t in made):
            yield window, Look(axes.own, None, types)


def _single(wrong: DrawnTerms) -> SparseDraw:
    """Return one point at which the sides differ, twice: of one, all is fixed."""
    count, single = len(next(iter(wrong.draw.places.values()))), wrong.draw
    for point, sign in itertools.product(range(count), (1.0, -1.0)):
        places = {name: each[[point, point]] for name, each in wrong.draw.places.items()}
        single = SparseDraw(places, sign)
        if wrong.points.term_distance(single, _WRONG)[0] > _WRONG:
            break
    return single


def _shown(
    before: gs.Graph,
    after: gs.Graph,
    feed: Mapping[str, np.ndarray[Any, Any]],
    window: ProofWindow,
    magnitudes: np.ndarray[Any, Any],
) -> str:
    """Say by how much the runtime's results differ; empty where they do not."""
    try:
        a, b = (
            Reference(graph, threads=1)(dict(feed))[output.name].astype(np.float64)
            for graph, output in zip((before, after), window.output, strict=True)
        )
    except ExecutionError:
        return ""
    if not (a.shape == b.shape == magnitudes.shape):
        return ""
    far = np.divide(np.abs(a - b), magnitudes, out=np.zeros_like(a), where=magnitudes > 0)
    at = np.unravel_index(int(np.argmax(far)), far.shape) if far.size else ()
    if not (far.size and far[at] > _WRONG):
        return ""
    return (
        f"element {[int(each) for each in at]} of output '{window.output[1].name}' is {b[at]:.6g} "
        f"and was {a[at]:.6g}, which differs by {far[at]:.1g} of the terms that it is a sum of"
    )
