"""Small graphs with channels to cut, and what is left of them."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from planish.passes.engine.records import Result

from tests.helpers import Array, graph_of, run_pass

PASS = "shrink-channels{measure=false}"


def normal(*shape: int) -> Array:
    """Return weights none of which is small."""
    values = np.random.default_rng(sum(shape)).standard_normal(shape)
    return (values + np.sign(values) * 0.2).astype(np.float32)


def zeroed(values: Array, axis: int, *indices: int) -> Array:
    values = values.copy()
    values[(slice(None),) * axis + (list(indices),)] = 0
    return values


def shrink(text: str, pipeline: str = PASS, **weights: Array) -> Result:
    return run_pass(graph_of(text, weights), pipeline)


def shapes(result: Result) -> dict[str, list[int]]:
    """Return the shapes of the constants that are left, by name."""
    constants = [t for n in result.graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]
    return {t.name: list(t.shape) for t in constants}


def value(result: Result, name: str) -> Array:
    constants = [t for n in result.graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]
    return next(np.asarray(t.values) for t in constants if t.name == name)


PLAIN = """g (float[N, 3, 8, 8] x) => (float[] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    b = BatchNormalization(a, s, t, m, v)
    c = Relu(b)
    y = Conv<pads = [1, 1, 1, 1]>(c, w2)
}"""


def plain(**changed: Array) -> dict[str, Array]:
    weights = {
        "w1": normal(4, 3, 3, 3),
        "b1": normal(4),
        "s": normal(4),
        "t": normal(4),
        "m": normal(4),
        "v": np.full(4, 0.5, np.float32),
        "w2": normal(5, 4, 3, 3),
    }
    return {**weights, **changed}
