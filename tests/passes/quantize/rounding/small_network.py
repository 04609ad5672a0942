"""Three convolutions, one of them depthwise, with feeds whose rows depend on one another."""

from __future__ import annotations

import numpy as np

from tests.helpers import run_pass

TEXT = """g (float[N, 3, 9, 9] x) => (float[N, 4, 7, 7] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    r = Relu (a)
    d = Conv <group = 8, pads = [1, 1, 1, 1]> (r, v, c)
    s = Relu (d)
    y = Conv (s, u)
}"""


def weights():
    """Return the constants of `TEXT` by name."""
    generator = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "v": (8, 1, 3, 3), "c": (8,), "u": (4, 8, 3, 3)}
    return {k: generator.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def feeds_of(count=6, seed=1):
    """Return batches of two."""
    generator = np.random.default_rng(seed)
    smooth = np.cumsum(generator.standard_normal((count, 2, 3, 9, 9)), axis=3)
    return [{"x": sample.astype(np.float32)} for sample in smooth]


def run(graph, pipeline, feeds):
    """Run a pipeline without verification."""
    return run_pass(graph, pipeline, feeds=feeds, verify="off")
