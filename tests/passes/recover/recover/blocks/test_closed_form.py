"""Layers of a block from the closed form, on data that only one solution fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.graph.clone import clone
from planish.passes.engine.context import Context
from planish.passes.recover.recover.blocks.closed_form import LayerSolver

from tests.helpers import graph_of
from tests.passes.recover.recover.small import normal

Array = np.ndarray[Any, Any]


def _solved(
    whole: gs.Graph, student: gs.Graph, samples: Array, result: str = "y"
) -> tuple[dict[str, Array], float, float]:
    context = Context(student)
    solver = LayerSolver(student, frozenset({result}), frozenset(), context)
    assert len(solver.layers) == 1
    given = [{"x": samples[i : i + 8]} for i in range(0, len(samples), 8)]
    run = planish.ir.run.reference.Reference(whole)
    seen = [solver.look(run(feed), len(given), [0, i]) for i, feed in enumerate(given)]
    target = run({"x": samples})[result]

    def error(graph: gs.Graph) -> float:
        found = planish.ir.run.reference.Reference(graph)({"x": samples})[result]
        return float(np.square(found - target).mean() / target.var())

    before = error(student)
    values = solver.solve(lambda: iter(given), seen, error)
    return values, before, error(solver.graph)


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", {"w": (6, 4, 3, 3), "b": (6,)}),
        ("y = Conv <strides = [2, 2], group = 2> (x, w)", {"w": (6, 2, 3, 3)}),
        ("y = Conv <group = 4> (x, w, b)", {"w": (4, 1, 3, 3), "b": (4,)}),
        ("y = ConvTranspose <strides = [2, 2]> (x, w, b)", {"w": (4, 5, 3, 3), "b": (5,)}),
        ("f = Flatten (x) y = Gemm (f, w, b)", {"w": (144, 3), "b": (3,)}),
        ("f = Flatten (x) y = Gemm <transB = 1> (f, w, b)", {"w": (3, 144), "b": (3,)}),
        ("f = Flatten (x) y = MatMul (f, w)", {"w": (144, 3)}),
        ("f = Flatten (x) p = MatMul (f, w) y = Add (p, b)", {"w": (144, 3), "b": (1, 3)}),
    ],
)
def test_a_layer_is_found_again_from_its_data(body: str, shapes: dict[str, Any]) -> None:
    """Noise on the weights is gone: with enough samples only the teacher's weights fit."""
    text = f"g (float[N, 4, 6, 6] x) => (float[] y) {{ {body} }}"
    held = {name: normal(5 + i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    broken = {name: array + 0.5 * normal(9, *array.shape) for name, array in held.items()}
    values, before, after = _solved(
        graph_of(text, held), graph_of(text, broken), normal(0, 400, 4, 6, 6)
    )
    assert values.keys() == held.keys()
    assert before > 0.05
    assert after < before / 500
    for name, array in values.items():
        assert array.shape == held[name].shape
        assert array.dtype == np.float32
        assert np.abs(array - held[name]).max() < np.abs(broken[name] - held[name]).max() / 5


def test_masked_weights_stay_and_the_others_make_up_for_them() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { m = Mul (w, w_mask) y = Conv (x, m, b) }"
    plain = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w, b) }"
    held = {"w": normal(1, 6, 4, 3, 3), "b": normal(2, 6)}
    mask = (np.random.default_rng(3).random((6, 4, 3, 3)) < 0.5).astype(np.float32)
    mask[0] = 0  # a row of nothing
    samples = normal(0, 200, 4, 6, 6) @ normal(4, 6, 6) / 2  # correlated pixels
    values, before, after = _solved(
        graph_of(plain, held), graph_of(text, held | {"w_mask": mask}), samples
    )
    np.testing.assert_array_equal(values["w"][mask == 0], held["w"][mask == 0])
    assert after < before
    # What numpy's least squares says of one row.
    patches = np.lib.stride_tricks.sliding_window_view(samples, (3, 3), (2, 3))
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 36).astype(np.float64)
    target = rows @ held["w"][3].reshape(-1) + held["b"][3]
    columns = np.flatnonzero(mask[3].reshape(-1))
    design = np.column_stack([rows[:, columns], np.ones(len(rows))])
    best = np.linalg.lstsq(design, target, rcond=None)[0]
    error = np.square(design @ best - target).mean()
    mine = np.append(values["w"][3].reshape(-1)[columns], values["b"][3])
    assert np.square(design @ mine - target).mean() < 1.05 * error


def test_weights_that_the_samples_say_nothing_about_stay() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w, b) }"
    held = {"w": normal(1, 6, 4, 1, 1), "b": normal(2, 6)}
    broken = {name: array + normal(9, *array.shape) for name, array in held.items()}
    samples = normal(0, 100, 4, 6, 6)
    samples[:, 2] = 0
    values, _, _ = _solved(graph_of(text, held), graph_of(text, broken), samples)
    np.testing.assert_allclose(values["w"][:, 2], broken["w"][:, 2], rtol=1e-5)
    assert np.abs(values["w"][:, 1] - held["w"][:, 1]).max() < 0.05


def test_a_solution_that_does_not_help_is_not_taken() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w) }"
    whole = graph_of(text, {"w": normal(1, 6, 4, 3, 3)})
    values, before, after = _solved(whole, clone(whole), normal(0, 32, 4, 6, 6))
    assert values == {}
    assert before == after == 0
