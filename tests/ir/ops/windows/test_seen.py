"""Which windows hold an element of their input: the runtime says, through the lowest number."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.ir.ops.windows.seen import sees_input

from tests.effort import examples
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


def spelled(attrs):
    return ", ".join(
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        for name, value in attrs.items()
    )


def model_with(attrs, size):
    text = f"y = MaxPool<{spelled(attrs)}>(x)"
    return model_of(f"g (float[1, 1, {size}] x) => (float[] y) {{ {text} }}")


def said(attrs, size):
    graph = planish.load(model_with(attrs, size))
    return sees_input(graph.nodes[0], view_of(graph))


@given(drawn=pools())
@settings(max_examples=examples(300))
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


def windows_that_fit(size):
    """Return the attributes of small pools that have a window on an axis of `size`."""
    found = []
    for kernel, dilation, stride, ceil in product((2, 3), (1, 2, 4), (1, 2, 3), (0, 1)):
        held = {"kernel_shape": [kernel], "dilations": [dilation], "strides": [stride]}
        reach = dilation * (kernel - 1) + 1
        found += [
            held | {"pads": list(pads), "ceil_mode": ceil}
            for pads in product(range(kernel), repeat=2)
            if size + sum(pads) >= reach
        ]
        if size >= reach and stride <= kernel and not ceil:  # else its pads are below zero
            found += [held | {"auto_pad": auto} for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")]
    return found


@pytest.mark.parametrize("size", [1, 2, 4])
def test_small_windows_hold_an_element_where_the_runtime_finds_one(size):
    windows = windows_that_fit(size)
    calls = "".join(f"y{i} = MaxPool<{spelled(attrs)}>(x) " for i, attrs in enumerate(windows))
    shown = ", ".join(f"float[] y{i}" for i in range(len(windows)))
    fixed, free = (f"g (float[1, 1, {n}] x) => ({shown}) {{ {calls} }}" for n in (size, "N"))
    found = run_ort(model_of(fixed), {"x": np.zeros((1, 1, size), np.float32)})
    graph, of_any_size = graph_of(fixed), graph_of(free)
    views = view_of(graph), view_of(of_any_size)
    for attrs, node, other in zip(windows, graph.nodes, of_any_size.nodes, strict=True):
        void = bool((found[node.outputs[0].name] == LOWEST).any())
        assert not (void and sees_input(other, views[1])), attrs
        sees = sees_input(node, views[0])
        assert not (void and sees) if attrs.get("ceil_mode") else sees is not void, attrs


@pytest.mark.parametrize(
    ("attrs", "size"),
    [
        ({"kernel_shape": [2], "pads": [2, 0]}, "N"),
        ({"kernel_shape": [2], "pads": [0, 2]}, 4),
        ({"kernel_shape": [2], "dilations": [3], "pads": [1, 0]}, 2),
        ({"kernel_shape": [2], "strides": [2], "pads": [0, 1], "ceil_mode": 1}, 2),
        ({"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}, 3),
    ],
    ids=["pads-first", "pads-last", "no-window", "begins-in-the-pad", "begins-in-the-pad-by-3"],
)
def test_what_some_runtimes_have_a_window_for(attrs, size):
    """ONNX Runtime refuses the first three, and has no such window of the others."""
    assert not said(attrs, size)


def test_a_last_window_that_begins_inside():
    assert said({"kernel_shape": [2], "strides": [3], "ceil_mode": 1}, 4)


@pytest.mark.parametrize(
    ("attrs", "sees"), [({}, True), ({"pads": [1, 1], "dilations": [2]}, False)]
)
def test_an_input_of_unknown_rank(attrs, sees):
    graph = planish.load(model_with({"kernel_shape": [2]} | attrs, 4))
    graph.nodes[0].inputs[0].shape = None
    assert sees_input(graph.nodes[0], view_of(graph)) is sees


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
