"""push-affine: maps into the operators after them, borders, what stays, and the numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import planish
from planish.ir.ops.linear.kernel import from_conv, from_conv_transpose
from planish.passes.linear.push_affine.border import (
    constant_image,
    is_uniform,
    seen_taps,
    sees_every_tap,
)

from tests.effort import examples
from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_ort, run_pass
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.affine import STEPS

GENERATOR = np.random.default_rng(8)  # weights restart it: no test has those of another order
PASS = "push-affine"
C = 6


def normal(*shape, dtype=np.float32):
    return GENERATOR.standard_normal(shape).astype(dtype)


def weights(dtype=np.float32):
    GENERATOR.bit_generator.state = np.random.default_rng(8).bit_generator.state
    return {
        "gain": normal(C, dtype=dtype),
        "bias": normal(C, dtype=dtype),
        "mean": (0.5 * normal(C)).astype(dtype),
        "var": GENERATOR.uniform(0.1, 2, C).astype(dtype),
        "s": (normal(C, 1, 1) + 3).astype(dtype),
        "t": normal(C, 1, 1, dtype=dtype),
        "k": np.array(0.4, dtype),
        "w": normal(4, C, 3, 3, dtype=dtype),
        "w1": normal(4, C, 1, 1, dtype=dtype),
        "depthwise": normal(C, 1, 3, 3, dtype=dtype),
        "grouped": normal(4, C // 2, 3, 3, dtype=dtype),
        "transposed": normal(C, 2, 3, 3, dtype=dtype),
        "cb": normal(4, dtype=dtype),
        "m": normal(C, 5, dtype=dtype),
        "flat": normal(C * 35, 5, dtype=dtype),
        "flat_t": normal(5, C * 35, dtype=dtype),
        "mb": normal(5, dtype=dtype),
        "axes": np.array([2, 3]),
        "shape": np.array([-1, C * 35]),
    }


def check(body, expected, size="N, 6, 7, 5", feed=None, tolerance=3e-6, pipeline=PASS, **more):
    model = model_of(f"g (float[{size}] x) => (float[] y) {{ {body} }}", {**weights(), **more})
    result = run_pass(planish.load(model), pipeline)
    assert ops(result.graph) == expected
    shape = feed or [2 if d == "N" else int(d) for d in size.split(", ")]
    assert_same_function(model, result.graph, {"x": normal(*shape)}, tolerance)
    return result


BN = "z = BatchNormalization <epsilon = 0.01> (x, gain, bias, mean, var)"
NORMALIZED = "c = Sub(x, t) z = Div(c, s)"

ABSORBED = {
    "Conv": ("y = Conv(z, w)", ["Conv"]),
    "Conv with bias": ("y = Conv(z, w, cb)", ["Conv"]),
    "Conv without padding": ('y = Conv <auto_pad = "VALID"> (z, w)', ["Conv"]),
    "1x1 in place": ('y = Conv <auto_pad = "SAME_UPPER"> (z, w1)', ["Conv"]),
    "depthwise": ("y = Conv <group = 6, strides = [2, 1]> (z, depthwise)", ["Conv"]),
    "grouped": ("y = Conv <group = 2, dilations = [2, 1]> (z, grouped, cb)", ["Conv"]),
    "Flatten and Gemm": ("f = Flatten(z) y = Gemm(f, flat, mb)", ["Flatten", "Gemm"]),
    "Reshape and transposed Gemm": (
        "f = Reshape(z, shape) y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, flat_t, mb)",
        ["Reshape", "Gemm"],
    ),
    "Flatten and MatMul": ("f = Flatten(z) y = MatMul(f, flat)", ["Flatten", "Gemm"]),
    "pooled head": (
        "p = GlobalAveragePool(z) f = Flatten(p) h = MatMul(f, m) y = Add(mb, h)",
        ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "mean head": (
        "p = ReduceMean <keepdims = 0> (z, axes) y = Gemm(p, m)",
        ["ReduceMean", "Gemm"],
    ),
    "AveragePool that leaves pads out": (
        "p = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (z) y = Conv(p, w)",
        ["AveragePool", "Conv"],
    ),
    "AveragePool without pads": (
        "p = AveragePool <kernel_shape = [2, 2], count_include_pad = 1> (z) y = Conv(p, w)",
        ["AveragePool", "Conv"],
    ),
    "two convolutions": (
        "p = Conv(z, w) q = Conv(z, w, cb) y = Add(p, q)",
        ["Conv", "Conv", "Add"],
    ),
    "last axis": (
        "u = Transpose <perm = [0, 2, 3, 1]> (z) h = MatMul(u, m) y = Add(h, mb)",
        ["Transpose", "MatMul", "Add"],
    ),
}


@pytest.mark.parametrize("before", [BN, NORMALIZED], ids=["BatchNormalization", "Sub Div"])
@pytest.mark.parametrize(("body", "expected"), ABSORBED.values(), ids=ABSORBED)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_every_output_sees_every_tap(before, body, expected, batch):
    result = check(f"{before} {body}", expected, size=f"{batch}, 6, 7, 5")
    assert result.edits == 1


PADDED = {
    "strided": "strides = [2, 2], pads = [1, 1, 1, 1]> (z, w, cb)",
    "odd pads": "strides = [2, 3], pads = [0, 2, 1, 1]> (z, w)",
    "dilated": "strides = [2, 2], dilations = [2, 1], pads = [2, 1, 2, 1]> (z, w)",
    "auto_pad": 'strides = [2, 2], auto_pad = "SAME_LOWER"> (z, w)',
    "depthwise": "strides = [2, 2], group = 6, pads = [1, 1, 1, 1]> (z, depthwise)",
    "wider than the image": "strides = [3, 3], pads = [7, 7, 7, 7]> (z, w)",
}


@pytest.mark.parametrize("attributes", PADDED.values(), ids=PADDED)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_padding_makes_a_map(attributes, batch):
    size = f"{batch}, 6, 15, 13"
    if "7, 7" in attributes:
        size = f"{batch}, 6, 31, 29"
    check(f"{NORMALIZED} y = Conv <{attributes}", ["Conv", "Add"], size=size)


@pytest.mark.parametrize("spatial", ["19", "9, 8", "5, 6, 5"])
def test_one_to_three_dimensions(spatial):
    rank = spatial.count(",") + 1
    ones, twos = ", ".join("1" * 2 * rank), ", ".join("2" * rank)
    check(
        f"{BN} y = Conv <strides = [{twos}], pads = [{ones}]> (z, w)",
        ["Conv", "Add"],
        size=f"N, 6, {spatial}",
        w=normal(4, 6, *[3] * rank),
    )


def test_transposed_convolution_has_a_map_everywhere():
    check(
        "a = Add(x, t) b = Mul(a, s) z = Sub(b, k) y = ConvTranspose <group = 2, strides = [1, 1], "
        "pads = [2, 1, 1, 2]> (z, transposed)",
        ["ConvTranspose", "Add"],
    )
    check(
        "z = Mul(x, s) y = ConvTranspose <strides = [2, 2], output_padding = [1, 1]> "
        "(z, transposed)",
        ["ConvTranspose"],
    )
    check(f"{BN} y = ConvTranspose(z, point)", ["ConvTranspose"], point=normal(6, 2, 1, 1))
    check(f"{NORMALIZED} y = ConvTranspose(z, transposed)", ["ConvTranspose", "Add"])
    # Pads that crop the border away leave positions that see every tap.
    check(f"{BN} y = ConvTranspose <pads = [2, 2, 2, 2]> (z, transposed)", ["ConvTranspose"])


def test_one_position_needs_no_map():
    check(f"{BN} y = Conv <pads = [1, 1, 1, 1]> (z, w)", ["Conv"], size="N, 6, 1, 1")


@pytest.mark.parametrize("size", ["N, 6, H, W", "N, 6, 7, 5"])
def test_the_scale_alone_goes_into_a_padded_convolution(size):
    """A map would cost more, or cannot be: one Add is left of the chain."""
    feed = [2, 6, 7, 5]
    conv = "y = Conv <pads = [1, 1, 1, 1]> (z, w)"
    wide = normal(18, 6, 3, 3)
    check(f"{NORMALIZED} {conv}", ["Add", "Conv"], size=size, feed=feed, w=wide)
    check(f"z = Mul(x, s) {conv}", ["Conv"], size=size, feed=feed)
    check(f"z = Neg(x) {conv}", ["Conv"], size=size, feed=feed)
    result = check(f"{BN} {conv}", ["BatchNormalization", "Conv"], size=size, feed=feed, w=wide)
    cost = "moving it would cost more than it saves"
    assert reasons(result) == {"its spatial size is not static" if "H" in size else cost}


def test_map_limit():
    body = f"{BN} y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, w)"
    check(body, ["Conv", "Add"], pipeline="push-affine{map-limit=48}")
    result = check(body, ["BatchNormalization", "Conv"], pipeline="push-affine{map-limit=47}")
    assert reasons(result) == {"the map of 48 elements is larger than map-limit"}


LARGE = {"size": "1, 6, 128, 128", "feed": [1, 6, 128, 128]}
PADDED = "y = Conv <pads = [1, 1, 1, 1]> (z, w)"


@pytest.mark.parametrize(
    ("body", "kept"), [(f"{BN} {PADDED}", "BatchNormalization"), (f"{NORMALIZED} {PADDED}", "Add")]
)
def test_a_map_does_not_multiply_the_file(body, kept):
    """Here it takes 256 KiB, and the weights take one."""
    result = check(body, [kept, "Conv"], **LARGE)
    if kept == "BatchNormalization":
        assert reasons(result) == {"the map of 262144 bytes would make the model much larger"}
    assert run_pass(result.graph, PASS).edits == 0
    check(body, ["Conv", "Add"], pipeline=f"{PASS}{{map-growth=320}}", **LARGE)


def test_maps_have_one_room_together():
    """Twelve of 98 KiB, of which one is nothing, beside weights of 4 KiB in all."""
    layers = " ".join(
        f"z{i} = BatchNormalization(x{i}, gain, bias, mean, var) "
        f"y{i} = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (z{i}, w{i})"
        for i in range(12)
    )
    names = [f"float[1, 6, 158, 158] x{i}" for i in range(12)]
    results = [f"float[] y{i}" for i in range(12)]
    text = f"g ({', '.join(names)}) => ({', '.join(results)}) {{ {layers} }}"
    model = model_of(text, {**weights(), **{f"w{i}": normal(4, 6, 2, 2) for i in range(12)}})
    before = planish.to_model(planish.load(model)).ByteSize()
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 1
    assert planish.to_model(result.graph).ByteSize() < before + 2**17 + 2048
    again = run_pass(result.graph, PASS)
    assert again.edits == 0


def test_the_operator_before_is_preferred():
    values = {**weights(), "w0": normal(6, 6, 1, 1)}
    text = f"g (float[N, 6, 7, 5] x0) => (float[] y) {{ x = Conv(x0, w0) {BN} y = Conv(z, w) }}"
    result = run_pass(graph_of(text, values), PASS)
    assert result.edits == 0
    assert reasons(result) == {"the linear operator before it can take it in"}
    assert ops(run_pass(graph_of(text, values), f"fold-batchnorm,{PASS}").graph) == ["Conv", "Conv"]


def test_a_shared_result_before_goes_forward():
    model = model_of(
        f"""g (float[N, 6, 7, 5] x0) => (float[] y, float[] r) {{
            x = Conv(x0, w0) {BN} y = Conv(z, w) r = Relu(x) }}""",
        {**weights(), "w0": normal(6, 6, 1, 1)},
    )
    result = run_pass(planish.load(model), f"fold-batchnorm,fold-affine,{PASS}")
    assert sorted(ops(result.graph)) == ["Conv", "Conv", "Relu"]
    assert_same_function(model, result.graph, {"x0": normal(2, 6, 7, 5)}, 3e-6)


def test_a_chain_read_in_the_middle_is_pushed_from_there_on():
    model = model_of(
        "g (float[N, 6, 7, 5] x) => (float[] y, float[] o) { a = Sub(x, t) z = Div(a, s) "
        "y = Conv(z, w) o = Relu(a) }",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == ["Conv", "Relu", "Sub"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_channels_last_input():
    check(
        "c = Sub(x, v) z = Mul(c, v) u = Transpose <perm = [0, 3, 1, 2]> (z) y = Conv(u, w)",
        ["Transpose", "Conv"],
        size="N, 7, 5, 6",
        v=normal(6),
    )


def test_matmul_of_sequences():
    values = {"v": normal(6), "u": normal(1, 1, 6)}
    chain = "a = Sub(x, v) b = Mul(a, u) z = Add(b, v)"
    check(f"{chain} y = MatMul(z, m)", ["MatMul", "Add"], size="N, 7, 6", **values)
    check(f"{chain} h = MatMul(z, m) y = Add(h, mb)", ["MatMul", "Add"], size="N, 7, 6", **values)
    check("z = Mul(x, v) y = MatMul(z, m)", ["MatMul"], size="N, 7, 6", **values)
    check("z = Add(x, v) y = MatMul(z, m)", ["MatMul", "Add"], size="N, 7, 6", **values)
    wide = normal(6, 20)
    check("z = Add(x, v) y = MatMul(z, wide)", ["Add", "MatMul"], "N, 7, 6", wide=wide, **values)


def test_maxpool_needs_positive_scales():
    pooled = "p = MaxPool <kernel_shape = [2, 2], pads = [1, 0, 0, 1]> (z) y = Conv(p, w)"
    check(f"{BN} {pooled}", ["MaxPool", "Conv"], gain=np.abs(normal(C)) + 0.1)
    gain = np.abs(normal(C)) + 0.1
    gain[3] *= -1
    result = check(f"{BN} {pooled}", ["BatchNormalization", "MaxPool", "Conv"], gain=gain)
    assert reasons(result) == {"MaxPool reads it, and a scale is not positive"}


def test_half_precision():
    model = model_of(
        "g (float16[1, 6, 15, 13] x) => (float16[] y) { c = Sub(x, t) z = Div(c, s) "
        "y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, w) }",
        weights(np.float16),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Add"]
    feeds = {"x": normal(1, 6, 15, 13, dtype=np.float16)}
    assert_same_function(model, result.graph, feeds, 2e-3)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 17, 22])
def test_opsets(opset):
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2, 6, 7, 5] x) => (float[2, 5] y) {{
            c = Div(x, s) z = Sub(k, c) p = GlobalAveragePool(z) f = Flatten(p)
            y = Gemm(f, m, mb) }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_reducemean_with_attribute_axes():
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[2, 6, 7, 5] x) => (float[2, 5] y) {{
            {BN} p = ReduceMean <axes = [-1, -2], keepdims = 0> (z) y = MatMul(p, m) }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["ReduceMean", "Gemm"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_inside_a_subgraph_with_shared_weights():
    model = model_of(
        f"""g (float[N, 6, 7, 5] x, bool p) => (float[] y) {{
            y = If (p) <then_branch = a () => (float[] u) {{ {BN} u = Conv(z, w) }},
                        else_branch = e () => (float[] v) {{ v = Conv(x, w) }}> }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["Conv"]
    for p in (True, False):
        feeds = {"x": normal(2, 6, 7, 5), "p": np.array(p)}
        assert_same_function(model, result.graph, feeds, 3e-6)


DECLINED = {
    "its result is a graph output": ("z = Mul(x, s) y = Conv(z, w)", "z"),
    "Relu reads it and cannot take it in": ("z = Mul(x, s) y = Conv(z, w) o = Relu(z)", "o"),
    "the result of GlobalAveragePool has other readers": (
        "z = Mul(x, s) y = Conv(z, w) p = GlobalAveragePool(z) q = Conv(p, w1) o = Relu(p)",
        "o, float[] q"),
    "a subgraph reads its result": (
        "z = Mul(x, s) y = Conv(z, w) o = If (flag) <then_branch = a () => (float[] u) "
        "{ u = Conv(z, w) }, else_branch = b () => (float[] v) { v = Conv(z, w) }>", "o"),
    "the weight of Conv is not constant": ("z = Mul(x, s) y = Conv(z, free) o = Relu(x)", "o"),
    "it is the weight or the bias of Conv": (
        "z = Mul(x, s) y = Conv(z, w) o = Conv(x, z)", "o"),
    "its constant is not one value per channel": (
        "z = Mul(x, row) y = Conv(z, w) o = Relu(x)", "o"),
    "its channels are not what the layers sum over": (
        "z = Mul(x, s) y = MatMul(z, n) o = Conv(z, w)", "o"),
    "Gemm reads it transposed": (
        "z = Mul(matrix, k) y = Gemm <transA = 1> (z, w2) o = Relu(x)", "o"),
    "a scale of zero keeps the shift": (
        "a = Mul(x, zero) z = Add(a, t) y = Conv <pads = [7, 7, 7, 7]> (z, w) o = Relu(x)", "o"),
    "rounding would show": ("z = Sub(x, far) y = Conv(z, w) o = Relu(x)", "o"),
    "the folded weights are not finite": ("z = Mul(x, huge) y = Conv(z, w) o = Relu(x)", "o"),
    "its running statistics are read": (
        "z, o, q = BatchNormalization (x, gain, bias, mean, var) y = Conv(z, w)", "o"),
}  # fmt: skip


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    body, output = DECLINED[reason]
    values = {
        **weights(),
        "row": normal(1, 5),
        "n": normal(5, 3),
        "w2": normal(4, 3),
        "zero": np.zeros((6, 1, 1), np.float32),
        "far": np.array(1e4, np.float32),
        "huge": np.array(3e38, np.float32),
    }
    values["w"] = 4 * values["w"]
    head = "float[N, 6, 7, 5] x, float[4, 6, 3, 3] free, bool flag, float[4, 4] matrix"
    result = run_pass(
        graph_of(f"g ({head}) => (float[] y, float[] {output}) {{ {body} }}", values),
        PASS,
        verify="off",
    )
    assert result.edits == 0
    assert any(reason in found for found in reasons(result)), reasons(result)


@pytest.mark.parametrize(
    "body",
    [
        "z = Mul(x, v) y = Conv(z, w)",  # not constant
        "z = Div(s, x) y = Conv(z, w)",  # not affine
        "z = Mul(x, s) y = Relu(z)",  # nothing to push into
    ],
)
def test_what_is_no_candidate(body):
    text = f"g (float[N, 6, 7, 5] x, float[6, 1, 1] v) => (float[] y) {{ {body} }}"
    result = run_pass(graph_of(text, weights()), PASS, verify="off")
    assert result.edits == 0
    assert not reasons(result)


@pytest.mark.parametrize("size", ["N, 1, 7, 5", "N, C, 7, 5"])
def test_one_channel_that_may_broadcast_to_many_stays(size):
    text = f"g (float[{size}] x) => (float[] y) {{ z = Mul(x, s) y = Conv(z, w) }}"
    assert run_pass(graph_of(text, weights()), PASS, verify="off").edits == 0


def test_average_that_includes_padding_stays():
    pool = "AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1>"
    text = (
        f"g (float[N, 6, 7, 5] x) => (float[] y) {{ z = Add(x, t) p = {pool} (z) y = Conv(p, w) }}"
    )
    assert run_pass(graph_of(text, weights()), PASS).edits == 0


GEOMETRY = list(itertools.product((1, 2, 3), (1, 2), (1, 2), (0, 1), (0, 2)))


@pytest.mark.parametrize(("kernel", "stride", "dilation", "begin", "end"), GEOMETRY)
def test_image_of_a_constant_convolution(kernel, stride, dilation, begin, end):
    """The map, summed tap by tap along each axis, against PyTorch on the image itself."""
    graph = graph_of(
        f"""g (float[1, 4, 6, 7] x) => (float[] y) {{
            y = Conv <group = 2, kernel_shape = [{kernel}, 2], strides = [{stride}, 1],
                      dilations = [{dilation}, 1], pads = [{begin}, 0, {end}, 1]> (x, w) }}""",
        {"w": normal(6, 2, kernel, 2)},
    )
    view = _view(graph)
    weight, values = normal(6, 2, kernel, 2).astype(np.float64), normal(4).astype(np.float64)
    seen = seen_taps(graph.nodes[0], (6, 7), view)
    found = constant_image(from_conv(weight, None, 2), values, seen)
    image = torch.from_numpy(np.broadcast_to(values[:, None, None], (1, 4, 6, 7)).copy())
    padded = torch.nn.functional.pad(image, (0, 1, begin, end))
    expected = torch.nn.functional.conv2d(
        padded, torch.from_numpy(weight), stride=(stride, 1), dilation=(dilation, 1), groups=2
    )[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pad", "extra"),
    [g for g in itertools.product((1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (0, 1)) if g[4] < g[1]],
)
def test_image_of_a_constant_transposed_convolution(kernel, stride, dilation, pad, extra):
    graph = graph_of(
        f"""g (float[1, 4, 6, 5] x) => (float[] y) {{
            y = ConvTranspose <group = 2, kernel_shape = [{kernel}, 2], strides = [{stride}, 1],
                dilations = [{dilation}, 1], pads = [{pad}, 0, {pad}, 0],
                output_padding = [{extra}, 0]> (x, w) }}""",
        {"w": normal(4, 3, kernel, 2)},
    )
    weight, values = normal(4, 3, kernel, 2).astype(np.float64), normal(4).astype(np.float64)
    seen = seen_taps(graph.nodes[0], (6, 5), _view(graph))
    found = constant_image(from_conv_transpose(weight, None, 2), values, seen)
    image = torch.from_numpy(np.broadcast_to(values[:, None, None], (1, 4, 6, 5)).copy())
    expected = torch.nn.functional.conv_transpose2d(
        image,
        torch.from_numpy(weight),
        stride=(stride, 1),
        padding=(pad, 0),
        output_padding=(extra, 0),
        dilation=(dilation, 1),
        groups=2,
    )[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("attributes", "kernel", "expected"),
    [
        ("strides = [1]", 1, True),
        ("strides = [1]", 2, False),
        ("strides = [2]", 1, False),
        ("strides = [2]", 2, False),
        ("pads = [0, 1]", 1, False),
        ("dilations = [2], output_padding = [1]", 1, False),
        ("output_shape = [4]", 1, False),
    ],
)
def test_a_transposed_convolution_of_any_size_that_is_even(attributes, kernel, expected):
    graph = graph_of(
        f"g (float[1, 1, H] x) => (float[] y) {{ y = ConvTranspose <{attributes}> (x, w) }}",
        {"w": normal(1, 1, kernel)},
    )
    assert sees_every_tap(graph.nodes[0], [kernel]) == expected


def test_an_image_without_outputs_is_not_uniform():
    assert not is_uniform((np.ones((3, 2)), np.ones((0, 2))))
    assert is_uniform((np.ones((3, 2)), np.ones((1, 2))))


def _view(graph):
    from planish.passes.engine.context import Context

    context = Context(graph)
    return context.view()


@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(60))
def test_random_networks(case):
    _check(case, PASS)


def test_a_constant_of_one_value_that_adds_an_axis_stays():
    given_model = model_of(
        """g (float[4] x) => (float[1, 2] y) {
            a = MatMul(x, w)
            b = Add(a, c)
            d = Mul(b, k)
            y = MatMul(d, v)
        }""",
        {"w": normal(4, 5), "c": normal(1, 1), "k": normal(5), "v": normal(5, 2)},
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["MatMul", "Add", "MatMul"]
    assert_same_function(given_model, result.graph, {"x": normal(4)})


SPLIT = f"{PASS}{{split-gelu=true}}"
GELUS = {
    "Gelu": (
        "a = Div(x, sqrt2) e = Erf(a) b = Add(e, one) p = Mul(x, b) z = Mul(p, half)",
        ["Div", "Erf", "Add", "Mul"],
    ),
    "GeluTanh": (
        "q = Mul(x, x) r = Mul(x, q) s0 = Mul(r, cubic) t0 = Add(x, s0) u = Mul(t0, k0) "
        "v = Tanh(u) b = Add(v, one) p = Mul(x, b) z = Mul(p, half)",
        ["Mul", "Mul", "Add", "Mul", "Tanh", "Add", "Mul"],
    ),
}
NUMBERS = {
    "sqrt2": np.sqrt(2), "one": 1, "half": 0.5, "cubic": 0.044715, "k0": np.sqrt(2 / np.pi),
}  # fmt: skip
BEHIND_GELU = {
    "Conv": ("y = Conv <pads = [1, 1, 1, 1]> (z, w, cb)", ["Conv"]),
    "ConvTranspose": ("y = ConvTranspose <strides = [2, 2]> (z, transposed)", ["ConvTranspose"]),
    "MatMul": (
        "c = Transpose <perm = [0, 2, 3, 1]> (z) d = MatMul(c, m) y = Add(d, mb)",
        ["Transpose", "MatMul", "Add"],
    ),
    "Gemm": ("f = Flatten(z) y = Gemm(f, flat, mb)", ["Flatten", "Gemm"]),
    "MaxPool": (
        "c = MaxPool <kernel_shape = [2, 2]> (z) y = Conv(c, w1)",
        ["MaxPool", "Conv"],
    ),
    "two": ("c = Conv(z, w1) d = Conv(z, w1, cb) y = Add(c, d)", ["Conv", "Conv", "Add"]),
}


def gelu_model(body, opset=17):
    values = {name: np.float32(value) for name, value in NUMBERS.items() if name in body}
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]> '
        f"g (float[N, 6, 7, 5] x) => (float[] y) {{ {body} }}",
        {name: v for name, v in {**weights(), **values}.items() if name in body},
    )


@pytest.mark.parametrize(("behind", "expected"), BEHIND_GELU.values(), ids=BEHIND_GELU)
@pytest.mark.parametrize("name", GELUS)
def test_half_of_a_gelu_goes_into_the_layers_after_it(name, behind, expected):
    """A power of two: not a bit of the result changes."""
    model = gelu_model(f"{GELUS[name][0]} {behind}")
    whole = planish.Pipeline.parse(f"recognize-activations,{PASS}").run(planish.load(model))
    assert ops(whole.graph) == [name, *expected]
    split = run_pass(whole.graph, SPLIT)
    assert sorted(ops(split.graph)) == sorted([*GELUS[name][1], *expected])
    feed = {"x": normal(2, 6, 7, 5)}
    before, after = (
        run_ort(planish.to_model(each.graph, portable=True), feed)["y"] for each in (whole, split)
    )
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ("y = Relu(z)", set()),
        ("c = Conv(z, w1) d = Relu(z) y = Concat <axis = 1> (c, d)",
         {"Relu reads it and cannot take it in"}),
    ],
)  # fmt: skip
def test_a_gelu_stays_whole_where_something_else_reads_it(behind, expected):
    model = gelu_model(f"{GELUS['Gelu'][0]} {behind}")
    whole = planish.Pipeline.parse("recognize-activations").run(planish.load(model)).graph
    result = run_pass(whole, SPLIT)
    assert result.edits == 0
    assert reasons(result) == expected


def test_the_gelu_of_the_standard_is_one_node_already():
    model = gelu_model("z = Gelu(x) y = Conv(z, w1)", 20)
    assert run_pass(planish.load(model), SPLIT).edits == 0


@pytest.mark.parametrize("text", ["exact{split-gelu=true}", f"simplify,{SPLIT},exact"])
def test_a_network_of_split_gelus_has_a_node_less_for_each(text):
    """What `exact` makes of it afterwards is no GELU again, and a second run edits nothing."""
    model = gelu_model(f"{GELUS['Gelu'][0]} c = Conv(z, w, cb) y = Relu(c)")
    whole, split = (
        planish.Pipeline.parse(p).run(planish.load(model), strict=True) for p in ("exact", text)
    )
    counts = [len(planish.to_model(r.graph, portable=True).graph.node) for r in (whole, split)]
    assert counts[1] == counts[0] - 1
    assert planish.Pipeline.parse(text).run(split.graph).edits == 0
