"""The float model as integers were made of it: what planish's own exact passes had done before.

They fold normalizations into weights and pad channels, after which the weights of a layer are not
those of the file. Run again over the float model, they leave the same names and sizes.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import PlanishError
from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.ops.quantization.weights import stored_weight
from ....ir.ops.traits.groups import LAYERS
from ....passes.engine.context import Context, Feeds
from ....passes.fusion.inline_fused_operators import inline_fused_operators
from ....passes.pipeline.pipeline import Pipeline
from ....passes.pipeline.presets import BEFORE_INTEGERS, PRESETS
from ....passes.quantize.qdq.match_float import FloatMatch, match_float, view_of
from ....passes.quantize.quantize.bodies import tell_bodies_apart

_SCALING = "equalize-ranges"
_CLOSE = 30.0  # dB of weights that are those of a layer, rounded to 7 bits or more
_LEAST = 1e-30


def inlined(graph: gs.Graph) -> gs.Graph:
    """Return a copy of `graph` without fused operators, names told apart in all its bodies."""
    copy = clone(graph)
    inline_fused_operators(copy, Context(copy))
    tell_bodies_apart(copy, Context(copy))
    return copy


def closest_float(
    graph: gs.Graph, original: gs.Graph, feeds: Feeds | None = None
) -> tuple[gs.Graph, FloatMatch]:
    """Return the float graph whose layers pair best with those of `graph`, and the pairs.

    It is `original`, or what passes before integers make of it, which computes the same. Channels
    are scaled by what `feeds` show, as far as they are those that the integers were made on.
    """
    best, found = -1.0, (original, FloatMatch())
    for text in ("", BEFORE_INTEGERS, f"{BEFORE_INTEGERS},{_SCALING}", PRESETS["simplify"]):
        if text.endswith(_SCALING) and feeds is None:
            continue
        with contextlib.suppress(PlanishError):
            made = original if not text else _made(original, text, feeds)
            match = match_float(graph, made)
            decibels = _closeness(graph, match)
            if sum(decibels) > best:
                best, found = sum(decibels), (made, match)
            if min(decibels, default=_CLOSE) >= _CLOSE:
                break
    return found


def _made(original: gs.Graph, text: str, feeds: Feeds | None) -> gs.Graph:
    steps = Pipeline.parse(text)
    return inlined(steps.run(original, feeds, verify="off", strict=False).graph)


def _closeness(graph: gs.Graph, match: FloatMatch) -> list[float]:
    """Return for each layer of `graph` how close its weights are to those it is paired with, in dB.

    0 where it is paired with none.
    """
    view, found = view_of(graph), []
    for node in graph.nodes:
        if node.op not in LAYERS:
            continue
        stored = stored_weight(node.inputs[1], view)
        own = view.constant(node.inputs[1]) if stored is None else stored.values
        if own is None:
            continue
        values = match.weights.get((node_key(node), 1))
        noise = 1.0 if values is None else float(((own - values) ** 2).sum())
        signal = 1.0 if values is None else float((values.astype(np.float64) ** 2).sum())
        found.append(
            max(0.0, min(2 * _CLOSE, 10 * math.log10((signal + _LEAST) / (noise + _LEAST))))
        )
    return found
