"""Which windows hold an element of their input: the runtime says, through the lowest number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.ir.ops.windows.seen import sees_input

from tests.helpers import graph_of, model_of, run_ort, view_of

LOWEST = np.finfo(np.float32).min


@st.composite
def pools(draw):
    kernel = draw(st.integers(1, 4))
    pads = [draw(st.integers(0, kernel - 1)) for _ in range(2)]
    attrs = {
        "kernel_shape": [kernel],
        "strides": [draw(st.integers(1, 4))],
        "dilations": [draw(st.integers(1, 4))],
        "ceil_mode": draw(st.integers(0, 1)),
    }
    kind = draw(st.sampled_from(("pads", "SAME_UPPER", "SAME_LOWER", "VALID")))
    attrs |= {"pads": pads} if kind == "pads" else {"auto_pad": kind, "dilations": [1]}
    return attrs, draw(st.integers(1, 8))


def model_with(attrs, size):
    text = ", ".join(
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        for name, value in attrs.items()
    )
    return model_of(f"g (float[1, 1, {size}] x) => (float[] y) {{ y = MaxPool<{text}>(x) }}")


def said(attrs, size):
    graph = planish.load(model_with(attrs, size))
    return sees_input(graph.nodes[0], view_of(graph))


@given(drawn=pools())
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_window_without_an_element_is_overlooked(drawn):
    attrs, size = drawn
    try:
        found = run_ort(model_with(attrs, size), {"x": np.zeros((1, 1, size), np.float32)})["y"]
    except Exception:  # larger than the input: no runtime has a result
        return
    void = bool((found == LOWEST).any())
    assert not (void and (said(attrs, size) or said(attrs, "N")))
    fits = sum(attrs.get("pads", [0])) + size > attrs["dilations"][0] * (
        attrs["kernel_shape"][0] - 1
    )
    if fits and not attrs["ceil_mode"]:
        assert said(attrs, size) is not void


@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel_shape": [3], "strides": [2], "pads": [1, 1]},
        {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "ceil_mode": 1},
        {"kernel_shape": [2], "strides": [2]},
        {"kernel_shape": [2], "strides": [2], "ceil_mode": 1},
        {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [3], "dilations": [2]},
    ],
)
def test_what_networks_have_is_known_to_hold_one_at_every_size(attrs):
    assert said(attrs, "N")


@pytest.mark.parametrize(
    ("shape", "axes", "holds"),
    [
        ("2, 3", "1", True),
        ("3, 1", "1", True),
        ("2, 0", "1", False),
        ("0, 3", "1", True),
        ("2, N", "1", False),
    ],
)
def test_a_reduction_holds_an_element_where_its_axes_do(shape, axes, holds):
    body = f"g (float[{shape}] x) => (float[] y) {{ y = ReduceMax<axes = [{axes}]>(x) }}"
    graph = graph_of(f'<ir_version: 8, opset_import: ["" : 17]> {body}')
    assert sees_input(graph.nodes[0], view_of(graph)) is holds


def test_a_reduction_whose_axes_are_computed():
    graph = graph_of("g (float[2, 3] x, int64[1] a) => (float[] y) { y = ReduceSum(x, a) }")
    assert not sees_input(graph.nodes[0], view_of(graph))


def test_global_pools_and_others():
    graph = graph_of(
        "g (float[1, 2, N] x) => (float[] y, float[] z) { y = GlobalMaxPool(x) z = Relu(x) }"
    )
    assert [sees_input(node, view_of(graph)) for node in graph.nodes] == [True, False]
