"""Linear operators read from a graph, and written back."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish
from planish.ir.core.decline import DeclinedError
from planish.ir.graph.edit import Edit
from planish.ir.ops.linear.kernel import Kernel
from planish.ir.ops.linear.layer import channel_vector, read_layer, read_with_bias, write_layer
from planish.passes.engine.context import Context

from tests.helpers import Array, assert_same_function, model_of, ops

G = np.random.default_rng(2)


def _w(*shape: int) -> Array:
    return G.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "k": _w(6, 2, 3, 3),
    "t": _w(4, 3, 2, 2),
    "m": _w(4, 6),
    "mt": _w(6, 4),
    "cube": _w(2, 4, 6),
    "whole": np.ones((4, 6), np.int64),
    "b": _w(6),
    "row": _w(1, 6),
    "one": _w(1),
    "number": np.float32(0.25),
    "zeros": np.zeros((6, 2), np.float32),
    "square": _w(6, 2),
    "column": _w(3, 1),
    "rows": _w(3, 6),
    "deep": _w(1, 1, 6),
}
IMAGE, FLAT, BATCHED = "float[N, 4, 5, 5]", "float[3, 4]", "float[2, 3, 4]"


def _model(body, kind, opset=20):
    words = set(re.findall(r"\w+", body))
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind.partition('[')[0]}[] y) {{ {body} }}",
        {name: values for name, values in WEIGHTS.items() if name in words},
    )


def _opened(model):
    graph = planish.load(model)
    context = Context(graph)
    return graph, Edit(graph, uses=context.uses), context.view()


def _feeds(kind):
    sizes = [int(d) if d.isdigit() else 2 for d in re.findall(r"\w+", kind.partition("[")[2])]
    return {"x": np.random.default_rng(4).standard_normal(sizes).astype(np.float32)}


# body, input, and the operators written back
READ = {
    "Conv": ("y = Conv <group = 2> (x, k, b)", IMAGE, ["Conv"]),
    "Conv without bias": ("y = Conv <group = 2, pads = [1, 0, 1, 0]> (x, k)", IMAGE, ["Conv"]),
    "Conv3d of PyTorch": ("y = Conv <group = 2> (x, k, noughts)", IMAGE, ["Conv"]),
    "ConvTranspose": ("y = ConvTranspose <group = 2, strides = [2, 2]> (x, t, b)", IMAGE,
                      ["ConvTranspose"]),
    "Gemm": ("y = Gemm (x, m, b)", FLAT, ["Gemm"]),
    "Gemm scaled": ("y = Gemm <alpha = 0.5, beta = 2.0> (x, m, row)", FLAT, ["Gemm"]),
    "Gemm transposed": ("y = Gemm <transB = 1, beta = -1.0> (x, mt, one)", FLAT, ["Gemm"]),
    "Gemm with a number": ("y = Gemm (x, m, number)", FLAT, ["Gemm"]),
    "Gemm without bias": ("y = Gemm (x, m)", FLAT, ["Gemm"]),
    "MatMul": ("y = MatMul (x, m)", FLAT, ["MatMul"]),
    "MatMul of a batch": ("y = MatMul (x, m)", BATCHED, ["MatMul"]),
    "MatMul + Add": ("p = MatMul (x, m) y = Add(p, b)", FLAT, ["Gemm"]),
    "Add + MatMul": ("p = MatMul (x, m) y = Add(row, p)", FLAT, ["Gemm"]),
    "MatMul + Add of a batch": ("p = MatMul (x, m) y = Add(p, deep)", BATCHED, ["MatMul", "Add"]),
    "MatMul + a number": ("p = MatMul (x, m) y = Add(number, p)", BATCHED, ["MatMul", "Add"]),
}  # fmt: skip
WEIGHTS["noughts"] = np.zeros((6, 2), np.float32)


@pytest.mark.parametrize(("body", "kind", "left"), READ.values(), ids=READ)
@pytest.mark.parametrize("opset", [9, 13, 20])
def test_written_back_it_computes_the_same(body, kind, left, opset):
    if opset < 11 and body == "y = Gemm (x, m)":
        pytest.skip("Gemm needs its bias until opset 11")
    model = _model(body, kind, opset)
    # No runtime takes PyTorch's spelling of a missing bias.
    sound = _model(body.replace(", noughts", ""), kind, opset)
    graph, edit, view = _opened(model)
    layer = read_layer(graph.nodes[-1], view)
    assert (layer.inputs, layer.outputs) == (4, 6)
    assert layer.axis == (1 if layer.is_spatial else -1)
    assert layer.result is graph.outputs[0]
    assert layer.source is graph.inputs[0]
    assert layer.nodes == tuple(graph.nodes[::-1])
    assert layer.rank == len(_feeds(kind)["x"].shape)
    edit.begin()
    write_layer(edit, layer, layer.kernel())
    edit.commit()
    assert ops(graph) == left
    assert edit.count == 1
    assert_same_function(sound, graph, _feeds(kind), 1e-6)


@pytest.mark.parametrize("name", ["Conv", "ConvTranspose", "Gemm scaled", "Gemm transposed"])
def test_alpha_beta_and_groups_are_in_the_kernel(name):
    body, kind, _ = READ[name]
    graph, _, view = _opened(_model(body, kind))
    layer = read_layer(graph.nodes[0], view)
    kernel = layer.kernel()
    assert kernel.group == layer.group == (2 if layer.is_spatial else 1)
    assert kernel.weight.dtype == np.float64
    if name == "Gemm scaled":
        np.testing.assert_array_equal(kernel.weight[0].T, WEIGHTS["m"] * 0.5)
        np.testing.assert_array_equal(kernel.bias, WEIGHTS["row"][0] * 2.0)
    if name == "Gemm transposed":
        np.testing.assert_array_equal(kernel.weight[0], WEIGHTS["mt"])
        np.testing.assert_array_equal(kernel.bias, np.full(6, -float(WEIGHTS["one"][0])))


@pytest.mark.parametrize(
    ("body", "kind", "left"),
    [
        ("y = MatMul (x, m)", FLAT, ["Gemm"]),
        ("y = MatMul (x, m)", BATCHED, ["MatMul", "Add"]),
        ("y = Conv <group = 2> (x, k)", IMAGE, ["Conv"]),
        ("y = Gemm <alpha = 2.0> (x, m)", FLAT, ["Gemm"]),
    ],
)
def test_a_bias_that_appears(body, kind, left):
    graph, edit, view = _opened(_model(body, kind, opset=13))
    layer = read_layer(graph.nodes[0], view)
    edit.begin()
    write_layer(edit, layer, layer.kernel().then_affine(np.ones(6), np.arange(6.0)))
    edit.commit()
    assert ops(graph) == left
    axes = "1, 6, 1, 1" if layer.is_spatial else "6"
    WEIGHTS["shift"] = np.arange(6, dtype=np.float32).reshape([int(n) for n in axes.split(",")])
    expected = _model(f"{body.replace('y =', 'z =')} y = Add(z, shift)", kind, opset=13)
    assert_same_function(expected, graph, _feeds(kind), 1e-6)


def test_an_old_gemm_is_given_a_bias_of_zeros():
    graph, edit, view = _opened(_model("y = Gemm (x, m, b)", FLAT, opset=9))
    layer = read_layer(graph.nodes[0], view)
    edit.begin()
    write_layer(edit, layer, Kernel(layer.kernel().weight, None))
    edit.commit()
    assert_same_function(_model("y = MatMul (x, m)", FLAT, opset=9), graph, _feeds(FLAT), 1e-6)


def test_constants_are_fresh_and_groups_may_change():
    graph, edit, view = _opened(_model("y = Conv <group = 2> (x, k, b)", IMAGE))
    layer = read_layer(graph.nodes[0], view)
    edit.begin()
    write_layer(edit, layer, layer.kernel().ungrouped(), attrs={"pads": [0, 0, 0, 0]})
    edit.commit()
    node = graph.nodes[0]
    assert node.attrs.get("group", 1) == 1
    assert "pads" in node.attrs
    assert node.inputs[1] is not layer.node.inputs[1]
    assert node.inputs[1].values.dtype == np.float32
    np.testing.assert_array_equal(layer.weight, WEIGHTS["k"])
    assert_same_function(_model("y = Conv <group = 2> (x, k, b)", IMAGE), graph, _feeds(IMAGE))


def test_other_tensors_may_be_read_and_given():
    body = "a = Relu(x) z = Conv <group = 2> (a, k, b) y = Neg(z)"
    graph, edit, view = _opened(_model(body, IMAGE))
    relu, conv, neg = graph.nodes
    layer = read_layer(conv, view)
    edit.begin()
    edit.remove(relu)
    edit.remove(neg)
    negated = layer.kernel().then_affine(np.full(6, -1.0), np.zeros(6))
    write_layer(edit, layer, negated, source=graph.inputs[0], result=graph.outputs[0])
    edit.commit()
    assert ops(graph) == ["Conv"]
    (node,) = graph.nodes
    assert [tensor.name for tensor in node.inputs] == ["x", "k_folded", "k_bias"]
    expected = _model("z = Conv <group = 2> (x, k, b) y = Neg(z)", IMAGE)
    assert_same_function(expected, graph, _feeds(IMAGE), 1e-6)


def test_a_group_is_written_where_it_was_or_has_to_be():
    for body, group in (
        ("y = Conv (x, whole4)", None),
        ("y = Conv <group = 1> (x, whole4)", 1),
        ("y = Conv <group = 2> (x, k)", 2),
    ):
        WEIGHTS["whole4"] = np.ones((6, 4, 1, 1), np.float32)
        graph, edit, view = _opened(_model(body, IMAGE))
        layer = read_layer(graph.nodes[0], view)
        edit.begin()
        write_layer(edit, layer, layer.kernel())
        edit.commit()
        assert graph.nodes[0].attrs.get("group") == group


def test_what_stands_between_a_product_and_its_bias_has_the_type_that_is_given():
    graph, edit, view = _opened(_model("y = MatMul (x, m)", BATCHED))
    layer = read_layer(graph.nodes[0], view)
    like = view.type(layer.result)
    edit.begin()
    write_layer(edit, layer, layer.kernel().then_affine(np.ones(6), np.ones(6)), like=like)
    edit.commit()
    product = graph.nodes[0].outputs[0]
    assert (product.name, product.dtype, list(product.shape)) == (
        "y_product", np.float32, [2, 3, 6])  # fmt: skip


DECLINES = {
    "y = Relu(x)": (IMAGE, "Relu is not a linear operator to fold into"),
    "y = Add(x, number)": (IMAGE, "Add is not a linear operator to fold into"),
    "v = Neg(k) y = Conv <group = 2> (x, v)": (IMAGE, "the weight of Conv is not constant"),
    "v = Neg(b) y = Conv <group = 2> (x, k, v)": (IMAGE, "the bias of Conv is not constant"),
    "y = Conv <group = 2> (x, k, square)": (
        IMAGE, r"the bias of Conv has shape \[6, 2\], not \[6\]"),
    "y = Gemm (x, m, rows)": (FLAT, "the bias of Gemm differs from row to row"),
    "y = Gemm (x, m, column)": (FLAT, "the bias of Gemm differs from row to row"),
    "p = MatMul (x, m) y = Add(p, rows)": (FLAT, "the bias of MatMul differs from row to row"),
    "p = MatMul (x, m) y = Add(p, deep)": (
        FLAT, "the bias of MatMul has more axes than its result"),
    "p = MatMul (x, m) r = Relu(p) q = Add(p, b) y = Add(q, r)": (
        FLAT, "Add is not a linear operator to fold into"),
    "y = MatMul (x, cube)": (BATCHED, "the weight of MatMul is no matrix"),
    "y = MatMul (x, whole)": ("int64[3, 4]", "the weight of MatMul is not a float"),
}  # fmt: skip


@pytest.mark.parametrize("body", DECLINES)
def test_declines(body):
    kind, reason = DECLINES[body]
    graph, _, view = _opened(_model(body, kind))
    with pytest.raises(DeclinedError, match=reason):
        read_layer(graph.nodes[-2 if "q = " in body else -1], view)


def test_a_weight_that_a_caller_may_override_is_not_constant():
    model = model_of(
        f"g ({FLAT} x, float[4, 6] m) => (float[] y) {{ y = MatMul (x, m) }}",
        {"m": WEIGHTS["m"]},
    )
    graph, _, view = _opened(model)
    with pytest.raises(DeclinedError, match="the weight of MatMul is not constant"):
        read_layer(graph.nodes[0], view)


def test_gemm_before_opset_7_stays():
    graph, _, view = _opened(_model("y = Gemm <broadcast = 1> (x, m, b)", FLAT, opset=6))
    with pytest.raises(DeclinedError, match="only from opset 7 on"):
        read_layer(graph.nodes[0], view)


@pytest.mark.parametrize(
    ("body", "added"),
    [
        ("p = MatMul (x, m) y = Add(p, b)", True),
        ("p = MatMul (x, m) y = Add(p, rows)", False),
        ("p = MatMul (x, m) y = Add(p, p)", False),
        ("p = MatMul (x, m) r = Relu(p) q = Add(p, b) y = Mul(q, r)", False),
        ("p = Gemm (x, m) y = Add(p, b)", False),
    ],
)
def test_the_bias_of_a_product_is_looked_for(body, added):
    graph, _, view = _opened(_model(body, FLAT))
    layer = read_with_bias(graph.nodes[0], view)
    assert (layer.added is not None) is added
    assert (layer.bias is not None) is added


CHANNELS = [
    # shape, rank, axis, channels, by channel
    ((), None, 1, 4, True),
    ((), 4, 1, 4, True),
    ((1,), 4, 1, 4, True),
    ((1, 1, 1, 1), 4, 1, 4, True),
    ((1, 1, 1, 1, 1), 4, 1, 4, False),  # it would add an axis
    ((4, 1, 1), 4, 1, 4, True),
    ((1, 4, 1, 1), 4, 1, 4, True),
    ((4,), 4, 1, 4, False),  # along the width
    ((4, 4, 1), 4, 1, 4, False),
    ((4, 1, 1), 3, 1, 4, False),  # along the batch
    ((4, 1), 3, 1, 4, True),
    ((5, 1, 1), 4, 1, 4, False),
    ((4, 1, 1), None, 1, 4, False),
    ((1,), None, 1, 4, False),
    ((4,), 2, 1, 4, True),
    ((4,), 2, -1, 4, True),
    ((1, 4), 2, -1, 4, True),
    ((4, 1), 2, -1, 4, False),
    ((4,), None, -1, 4, True),
    ((1,), None, -1, 4, True),
    ((1, 4), None, -1, 4, False),  # the product may be a vector
    ((1, 4), 1, -1, 4, False),
    ((2,), 3, -1, 4, False),
]


@pytest.mark.parametrize(("shape", "rank", "axis", "channels", "found"), CHANNELS)
def test_channel_vector(shape, rank, axis, channels, found):
    values = G.standard_normal(shape).astype(np.float32)
    vector = channel_vector(values, rank, axis, channels)
    assert (vector is not None) is found
    if vector is None:
        return
    assert vector.dtype == np.float64
    assert vector.shape == (channels,)
    if rank is not None:
        # Numpy's own broadcasting is the oracle.
        sizes = [3] * rank
        sizes[axis] = channels
        spread = np.moveaxis(np.broadcast_to(values, sizes), axis, -1).reshape(-1, channels)
        np.testing.assert_array_equal(spread, np.broadcast_to(vector, spread.shape))
