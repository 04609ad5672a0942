"""What follows an operator in its kernel reads operands of every shape as ONNX broadcasts them."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, run_ort

pytest.importorskip("tvm")

SHAPE = (4, 7, 3, 5)
OPERANDS = [
    (1,),
    (5,),
    (3, 1),
    (7, 1, 1),
    (7, 3, 5),
    (4, 1, 1, 1),
    (4, 7, 1, 1),
    (1, 7, 1, 5),
    SHAPE,
]


def normal(*shape: int):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["PRelu", "Max"])
@pytest.mark.parametrize("given", [False, True], ids=["constant", "at run time"])
def test_operands_broadcast(op, given) -> None:
    """A slope is one like any other, though it is no data."""
    weights = {f"w{i}": normal(7, 7, 3, 3) + np.float32(i) for i in range(len(OPERANDS))}
    values = {f"c{i}": normal(*shape) for i, shape in enumerate(OPERANDS)}
    nodes = [
        f"a{i} = Conv <pads = [1, 1, 1, 1]> (x, w{i}) y{i} = {op} (a{i}, c{i})"
        for i in range(len(OPERANDS))
    ]
    outputs = ", ".join(f"float[N, C, H, W] y{i}" for i in range(len(OPERANDS)))
    inputs = [f"float{list(v.shape)} {name}" for name, v in values.items()] if given else []
    text = (
        f"g ({', '.join(['float[4, 7, 3, 5] x', *inputs])}) => ({outputs}) {{ {' '.join(nodes)} }}"
    )
    model = model_of(text, weights if given else {**weights, **values})
    feeds = {"x": normal(*SHAPE), **(values if given else {})}
    # Optimized, the convolutions would be one.
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, optimize=False)
    found = compiled(feeds)
    for name, expected in run_ort(model, feeds).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_flattened_operands_have_channels_in_any_order() -> None:
    """Those of a grouped convolution lie in other blocks than those of a plain one."""
    text = """g (float[2, 6, 5, 4] x) => (float[2, 18] y, float[2, 18] z) {
        a = Conv <group = 2> (x, w) p = GlobalAveragePool (a) f = Flatten (p)
        b = Conv (x, v) q = GlobalMaxPool (b) g = Flatten (q)
        y = Mul (g, f) z = Sub (f, g) }"""
    model = model_of(text, {"w": normal(18, 3, 2, 2), "v": normal(18, 6, 2, 2)})
    feeds = {"x": normal(2, 6, 5, 4)}
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(feeds)
    for name, expected in run_ort(model, feeds).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)
