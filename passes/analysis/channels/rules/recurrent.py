"""Recurrent layers: they read the cells of their inputs and make hidden units.

    h_t[j] = f(sum_c W[g, j, c] x_t[c] + sum_k R[g, j, k] h_{t-1}[k] + b[g, j], ...)    g: gates

A hidden unit is one cell in all gates, and in both directions, which have one hidden size.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import label
from .....ir.ops.traits import operators_with
from ..analysis import ChannelAnalysis, Rule
from ..cells import Array
from ..findings import RecurrentLayer
from ..labels import unite_pairs, varying

_BIAS, _LENGTHS, _STATE, _CELL, _PEEPHOLES = 3, 4, 5, 6, 7
_FEATURES = 2  # the axis of x, states and weights' columns


def _recurrent(node: gs.Node, analysis: ChannelAnalysis) -> None:
    weight, inner = (analysis.values(node.inputs[place]) for place in (1, 2))
    labels = analysis.of(node.inputs[0])
    if weight is None or inner is None or weight.ndim != 3 or inner.ndim != 3 or labels is None:
        analysis.block(node, f"the weights of {label(node)} are not constant")
        return
    read = analysis.channels(node.inputs[0], _FEATURES, weight.shape[2])
    if read is None or labels.ndim != 3 or node.attrs.get("layout", 0):
        analysis.block(node, f"{label(node)} reads it with a weight of another rank")
        return
    if set(varying(labels)) - {_FEATURES}:
        analysis.fix(node.inputs[0], f"steps of {label(node)} are different channels")
    made = analysis.cells.fresh(inner.shape[2])
    gates = inner.shape[1] // len(made)
    analysis.slice(node, 1, 1, "makes", np.tile(made, gates))
    analysis.slice(node, 1, 2, "reads", read)
    analysis.slice(node, 2, 1, "makes", np.tile(made, gates))
    analysis.slice(node, 2, 2, "reads", made)
    _others(node, made, gates, analysis)
    analysis.recurrent.append(
        RecurrentLayer(node=node, view=analysis.view, gates=gates, read=read, made=made)
    )
    for tensor in node.outputs:
        rank = analysis.view.rank(tensor)
        if tensor.name and rank is not None:
            analysis.put(tensor, made.reshape(*[1] * (rank - 1), -1))


def _others(node: gs.Node, made: Array, gates: int, analysis: ChannelAnalysis) -> None:
    """Bias, peepholes and states to begin with."""
    for place, axis, cells in (
        (_BIAS, 1, np.tile(made, 2 * gates)),
        (_STATE, _FEATURES, made),
        (_CELL, _FEATURES, made),
        (_PEEPHOLES, 1, np.tile(made, 3)),
    ):
        if place >= len(node.inputs) or not node.inputs[place].name:
            continue
        tensor = node.inputs[place]
        values = analysis.values(tensor)
        if values is not None:
            analysis.slice(node, place, axis, "bias" if place == _BIAS else "follows", cells)
        elif (
            axis == _FEATURES and (given := analysis.channels(tensor, axis, len(made))) is not None
        ):
            unite_pairs(given, made, analysis.cells)
        else:
            analysis.cells.fix(made, f"an input of {label(node)} is computed")
    if len(node.inputs) > _LENGTHS:
        analysis.fix(node.inputs[_LENGTHS], f"{label(node)} counts its steps by it")


RULES: dict[str, Rule] = dict.fromkeys(operators_with(lambda t: t.recurrent), _recurrent)
