"""Maps behind layers that share a weight go in where copies of it do not bloat the model."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

RNG = np.random.default_rng(3)
SHARED = {
    "other layers share the weight of Conv, and copies would make the model larger than twice what "
    "it is"
}


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def towers(count, steps, outputs=128, inputs=128, **weights):
    """Return a graph of `count` towers, in each of which {i} is its number."""
    body = " ".join(steps.format(i=i) for i in range(count))
    parts = ", ".join(f"y{i}" for i in range(count))
    return model_of(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1, {inputs}, 8, 8] x) => (float[] y) '
        f"{{ {body} y = Concat <axis = 0> ({parts}) }}",
        {"w": normal(outputs, inputs, 5, 5), **weights},
    )


def nodes(count, kind="Mul", same=False):
    scales = {f"s{i}": np.float32(2) + normal(128, 1, 1) for i in range(1 if same else count)}
    scale = "s0" if same else "s{i}"
    steps = {
        "Mul": f"x{{i}} = Relu(x) h{{i}} = Conv(x{{i}}, w) y{{i}} = Mul(h{{i}}, {scale})",
        "Div, after a shift": f"h{{i}} = Conv(x, w) a{{i}} = Add(h{{i}}, s0) "
                              f"y{{i}} = Div(a{{i}}, {scale})",
        "before": f"n{{i}} = Relu(x) m{{i}} = Mul(n{{i}}, {scale}) y{{i}} = Conv(m{{i}}, w)",
        "negative": "x{i} = Relu(x) h{i} = Conv(x{i}, w) q{i} = GlobalMaxPool(x{i}) "
                    "y{i} = Sub(q{i}, h{i})",
    }  # fmt: skip
    return towers(count, steps[kind], **({} if kind == "negative" else scales))


PIPELINE = "fold-affine,fold-batchnorm,push-affine,deduplicate-constants"


@pytest.mark.parametrize("kind", ["Mul", "Div, after a shift", "before"])
@pytest.mark.parametrize(("count", "folds"), [(1, True), (2, True), (3, False), (8, False)])
def test_copies_take_no_more_than_the_constants(kind, count, folds):
    model = nodes(count, kind)
    result = run_pass(planish.load(model), PIPELINE)
    left = [op for op in ops(result.graph) if op in ("Mul", "Div")]
    assert len(left) == (0 if folds else count)
    assert folds or reasons(result) >= SHARED
    size = len(planish.to_model(result.graph).SerializeToString())
    assert size < 2.1 * len(model.SerializeToString())
    assert_same_function(model, result.graph, {"x": normal(1, 128, 8, 8)}, 1e-5)


@pytest.mark.parametrize("kind", ["Mul", "Div, after a shift", "before"])
def test_the_same_map_everywhere_needs_no_copies(kind):
    model = nodes(5, kind, same=True)
    result = run_pass(planish.load(model), PIPELINE)
    assert not {"Mul", "Div"} & set(ops(result.graph))
    size = len(planish.to_model(result.graph).SerializeToString())
    assert size < 1.1 * len(model.SerializeToString())
    assert_same_function(model, result.graph, {"x": normal(1, 128, 8, 8)}, 1e-5)


def test_small_weights_are_copied_always():
    model = towers(
        8,
        "x{i} = Relu(x) h{i} = Conv(x{i}, w) y{i} = Mul(h{i}, s{i})",
        outputs=4,
        inputs=4,
        **{f"s{i}": normal(4, 1, 1) for i in range(8)},
    )
    result = run_pass(planish.load(model), PIPELINE)
    assert "Mul" not in ops(result.graph)


def test_all_that_are_subtracted_are_negated_together():
    result = run_pass(planish.load(nodes(4, "negative")), PIPELINE)
    assert "Sub" not in ops(result.graph)
