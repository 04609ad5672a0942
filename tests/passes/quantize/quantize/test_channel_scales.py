"""A scale for each channel of what integers give to floats: where, what it helps, what it means."""

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, model_of, ops, relative_error, run_ort, run_pass

PLAIN = "quantize{measure=false,guard=off,reduce-range=false"
R = np.random.default_rng(5)
# From channel to channel the result is smaller by half.
SIZES = (0.5 ** np.arange(8)).astype("f")
WEIGHTS = {
    "w": (R.standard_normal((8, 4, 1, 1)) * SIZES[:, None, None, None]).astype("f"),
    "b": (R.standard_normal(8) * SIZES).astype("f"),
    "back": (1 / SIZES).reshape(8, 1, 1),
    "v": R.standard_normal((8, 8, 1, 1)).astype("f"),
}
HEAD = "g (float[N, 4, 6, 6] x) => (float[N, 8, 6, 6] y)"
# What reads the channels makes all of them count alike.
TAIL = "e = Softplus(c) l = Log(e) m = Mul(l, back) y = Erf(m)"


def feeds(count, seed=0):
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal((1, 4, 6, 6)).astype("f")} for _ in range(count)]


def network(body=f"c = Conv(x, w, b) {TAIL}", head=HEAD):
    return graph_of(f"{head} {{ {body} }}", WEIGHTS)


def quantized(graph, options="", count=16):
    return planish.Pipeline.parse(f"{PLAIN}{options}}}").run(graph, feeds(count), verify="off")


def scaled(graph):
    """The results that come back with a scale for each channel of what has one for the whole."""
    made = {t.name: n for n in graph.nodes for t in n.outputs}
    return {
        node.outputs[0].name: node
        for node in graph.nodes
        if node.op == "DequantizeLinear"
        and node.inputs[0].name in made
        and node.inputs[1].values.ndim
    }


def sqnr(graph, other, name="y", seed=99):
    models = [planish.to_model(each) for each in (graph, other)]
    found = [[run_ort(each, feed)[name] for feed in feeds(8, seed)] for each in models]
    a, b = (np.concatenate(each).astype(np.float64) for each in found)
    return 10 * np.log10((a**2).sum() / ((a - b) ** 2).sum())


def test_small_channels_have_small_steps():
    graph = network()
    result = quantized(graph)
    (node,) = scaled(result.graph).values()
    assert node.attrs["axis"] == 1
    scales = node.inputs[1].values
    assert scales.shape == (8,)
    assert scales.max() > 16 * scales.min()
    (first,) = (n for n in result.graph.nodes if n.outputs[0] is node.inputs[0])
    assert first.inputs[1].values.shape == ()
    without = quantized(graph, ",channel-scales=false").graph
    assert not scaled(without)
    assert sqnr(graph, result.graph) > sqnr(graph, without) + 4
    (told,) = (r for record in result.records for r in record.remarks if "each channel" in r)
    assert re.fullmatch(r"1 layer gives .* each channel: \d+\.\d dB at the outputs, .*", told)


def test_integers_of_weights_and_biases_stay():
    graph, own = network(), []
    for options in ("", ",channel-scales=false"):
        found = quantized(graph, f",correct-bias=false{options}").graph
        own.append({n.inputs[0].name.split("_")[0]: n.inputs[0] for n in found.nodes
                    if n.op == "DequantizeLinear" and hasattr(n.inputs[0], "values")})  # fmt: skip
    for name in ("w", "b"):
        with_scales, without = (each[name].values.astype(np.int64) for each in own)
        assert np.abs(with_scales - without).max() <= (0 if name == "w" else 1)


def test_biases_are_corrected_over_the_scales():
    head = HEAD.replace("y)", "y, float[N, 8, 6, 6] e)")
    graph = network("p = Relu(x) c = Conv(p, w, b) e = Elu(c) y = Erf(e)", head)
    means = []
    for options in ("", ",correct-bias=false"):
        found = quantized(graph, options).graph
        shown = [
            np.concatenate([run_ort(planish.to_model(g), f)["e"] for f in feeds(16)])
            for g in (graph, found)
        ]
        error = (shown[1] - shown[0]).mean(axis=(0, 2, 3)) / SIZES
        means.append(np.abs(error).mean())
    assert means[0] < means[1]


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv(x, w, b) d = Conv(c, v) e = Softplus(d) y = Add(c, e)",  # integers read it too
        "y = Conv(x, w, b)",
    ],
)
def test_only_what_floats_alone_read_is_scaled(body):
    assert not scaled(quantized(network(body)).graph).keys() & {"c", "y"}


def test_weights_with_one_scale_and_channels_alike_stay():
    assert not scaled(quantized(network(), ",per-channel=false").graph)
    alike = {**WEIGHTS, "w": WEIGHTS["w"] / SIZES[:, None, None, None], "b": WEIGHTS["b"] / SIZES}
    graph = graph_of(f"{HEAD} {{ c = Conv(x, w, b) y = Erf(c) }}", alike)
    found = scaled(quantized(graph).graph)
    for node in found.values():
        assert node.inputs[1].values.min() > node.inputs[1].values.max() / 4


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_show_nothing_or_little(count):
    graph = network()
    found, without = (
        quantized(graph, options, count).graph for options in ("", ",channel-scales=false")
    )
    assert sqnr(graph, found) > sqnr(graph, without) - 0.5


@pytest.mark.parametrize("bound", ["Relu(a)", "Clip(a, zero, six)", "Clip(a, low, six)"])
def test_bounds_hold_over_the_scales(bound):
    body = f"a = Conv(x, w, b) c = {bound} m = Mul(c, back) y = Erf(m)"
    graph = graph_of(
        f"{HEAD} <float zero = {{0}}, float six = {{1.5}}, float low = {{-0.5}}> {{ {body} }}",
        WEIGHTS,
    )
    found, without = (quantized(graph, o).graph for o in ("", ",channel-scales=false"))
    assert scaled(found)
    assert sqnr(graph, found) > sqnr(graph, without) + 3


def test_transposed_convolutions_too_but_not_in_groups():
    weights = {**WEIGHTS, "t": WEIGHTS["w"].swapaxes(0, 1).copy()}
    body = f"c = ConvTranspose(x, t, b) {TAIL}"
    graph = graph_of(f"{HEAD} {{ {body} }}", weights)
    found, without = (quantized(graph, o).graph for o in ("", ",channel-scales=false"))
    assert scaled(found)
    assert sqnr(graph, found) > sqnr(graph, without) + 4
    weights["t"] = weights["t"].reshape(4, 8, 1, 1)[:, :4]
    grouped = body.replace("(x, t, b)", "<group = 2>(x, t, b)")
    assert not scaled(quantized(graph_of(f"{HEAD} {{ {grouped} }}", weights), ",lower=false").graph)


def test_a_second_run_changes_nothing():
    first = quantized(network()).graph
    again = run_pass(first, f"{PLAIN},extend=true}}", feeds=feeds(4), verify="off")
    assert ops(again.graph) == ops(first)
    cleaned = run_pass(first, "eliminate-quantize-pairs", verify="off")
    assert not cleaned.records[0].edits


def test_back_in_float_the_factor_stays():
    graph = network()
    found = quantized(graph).graph
    (layer,) = (n for n in found.nodes if n.op == "Conv")
    back = run_pass(
        found, f"dequantize-nodes{{nodes=[{layer.outputs[0].name}]}}", verify="off"
    ).graph
    assert "QuantizeLinear" not in ops(back)
    assert sqnr(graph, back) > sqnr(graph, found)


def test_back_in_float_with_the_weights_of_the_float_model(tmp_path):
    graph = network()
    planish.save(graph, tmp_path / "float.onnx")
    found = quantized(graph).graph
    (layer,) = (n for n in found.nodes if n.op == "Conv")
    model, name = tmp_path / "float.onnx", layer.outputs[0].name
    text = f'dequantize-nodes{{nodes=[{name}],float-model="{model}"}}'
    assert sqnr(graph, run_pass(found, text, verify="off").graph) > 100


PAIRS = """<ir_version: 9, opset_import: ["" : 19]>
g (float[2, 3, 6, 6] x) => (float[2, 5, 6, 6] y) {
    xq = QuantizeLinear <axis = 1> (x, sx, zx)
    xd = DequantizeLinear (xq, s0, z0)
    wd = DequantizeLinear <axis = 0> (wi, sw, zw)
    bd = DequantizeLinear <axis = 0> (bi, sb)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (xd, wd, bd)
    q = QuantizeLinear (c, sy, zy)
    d = DequantizeLinear <axis = 1> (q, ty, tz)
    y = Erf (d)
}"""
STEPS = R.uniform(0.01, 0.02, 5).astype("f")
PARAMETERS = {
    "sx": np.array([0.01, 0.02, 0.04], "f"),
    "zx": np.full(3, 128, "u1"),
    "s0": np.float32(0.02),
    "z0": np.uint8(128),
    "wi": R.integers(-127, 128, (5, 3, 3, 3)).astype("i1"),
    "sw": STEPS,
    "zw": np.zeros(5, "i1"),
    "bi": R.integers(-999, 999, 5).astype("i4"),
    "sb": (np.float32(0.02) * STEPS).astype("f"),
    "sy": np.float32(0.03),
    "zy": np.uint8(100),
    "ty": (0.03 * np.array([1, 0.5, 0.25, 0.1, 0.7])).astype("f"),
    "tz": np.full(5, 100, "u1"),
}
X = R.uniform(-2, 2, (2, 3, 6, 6)).astype("f")


def oracle():
    """What ONNX says of `PAIRS`, in numpy."""
    p = {k: np.asarray(v, np.float64) for k, v in PARAMETERS.items()}
    along = (slice(None), None, None)
    x = (np.clip(np.rint(X / p["sx"][along]) + 128, 0, 255) - 128) * p["s0"]
    w = p["wi"] * p["sw"][:, None, None, None]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    c = np.einsum("ncijkl,mckl->nmij", windows, w) + (p["bi"] * p["sb"])[along]
    return (np.clip(np.rint(c / p["sy"]) + 100, 0, 255) - 100) * p["ty"][along]


@pytest.mark.parametrize(
    "backend", ["onnxruntime", "openvino", pytest.param("tvm", marks=pytest.mark.slow)]
)
def test_pairs_of_unlike_scales_mean_what_onnx_says(backend):
    if backend != "onnxruntime":
        pytest.importorskip(backend)
    graph = planish.load(model_of(PAIRS.replace("y = Erf (d)", "y = Neg (d)"), PARAMETERS))
    found = -planish.lower(graph, backend=backend)({"x": X})["y"]
    wanted = oracle()
    # A sum may lie between two integers: there it is one step off.
    step = PARAMETERS["ty"][:, None, None] * 1.01
    assert (np.abs(found - wanted) <= step).all()
    assert np.mean(np.abs(found - wanted) > 1e-5) < 0.01


@pytest.mark.parametrize("learned", [False, True])
def test_pairs_of_unlike_scales_in_torch(learned):
    torch = pytest.importorskip("torch")
    model = model_of(PAIRS, PARAMETERS)
    module = planish.to_fx(planish.load(model), learn_scales=learned)
    x = torch.tensor(X, requires_grad=True)
    found = module(x)
    assert np.abs(found.detach().numpy() - run_ort(model, {"x": X})["y"]).max() < 1e-5
    if not learned:
        found.sum().backward()
        assert float(x.grad.abs().sum()) > 0
    again = planish.from_fx(module)
    assert (
        np.abs(run_ort(planish.to_model(again), {"x": X})["y"] - found.detach().numpy()).max()
        < 1e-5
    )


def test_explain_measures_past_the_factor():
    graph = network()
    found = quantized(graph).graph
    report = planish.explain_int8(found, graph, feeds(8), most=0)
    (layer,) = (each for each in report.layers if each.op == "Conv")
    assert min(layer.local, layer.weights, layer.rounding, layer.cumulative) > 25


def test_weights_that_end_before_their_largest_one_do_so_over_the_scales():
    weights = {**WEIGHTS, "w": WEIGHTS["w"].copy()}
    weights["w"][:, 0] = 40 * SIZES[:, None, None]  # of a channel that reads next to nothing
    graph = graph_of(f"{HEAD} {{ c = Conv(x, w, b) {TAIL} }}", weights)
    data = [{"x": f["x"] * np.array([1e-4, 1, 1, 1], "f")[:, None, None]} for f in feeds(16)]
    own = []
    for options in ("", ",channel-scales=false"):
        text = f"{PLAIN},correct-bias=false{options}}}"
        found = planish.Pipeline.parse(text).run(graph, data, verify="off").graph
        assert bool(scaled(found)) == (not options)
        (layer,) = (n for n in found.nodes if n.op == "Conv")
        own.append(layer.inputs[1].inputs[0].inputs[0].values.astype(np.int64))
    assert (own[1][:, 0] == 127).all()
    assert np.abs(own[1][:, 1:]).max() > 20  # the others have their steps
    assert np.abs(own[0] - own[1]).max() <= 1


def test_scales_by_which_the_outputs_lose_are_not_taken(monkeypatch):
    monkeypatch.setattr(
        "planish.passes.quantize.quantize.selection.decibels_gained", lambda *_: -0.1
    )
    assert not scaled(quantized(network()).graph)


@pytest.mark.parametrize(
    "reader",
    ["GlobalAveragePool(a)", "AveragePool <kernel_shape = [2, 2]> (a)", "Sigmoid(a)",
     "LeakyRelu(a)", "Mul(a, a)"],
)  # fmt: skip
def test_what_a_runtime_takes_for_integers_reads_one_scale(reader):
    """It is between pairs although it is to stay in float, and kernels have no scale a channel."""
    generator = np.random.default_rng(0)
    sizes = np.exp(np.linspace(-3, 2, 8))[:, None, None, None]
    weights = {
        "w": (generator.standard_normal((8, 4, 3, 3)) * sizes).astype(np.float32),
        "v": generator.standard_normal((5, 8, 1, 1)).astype(np.float32),
    }
    graph = graph_of(
        "g (float[1, 4, 8, 8] x) => (float[] y) "
        f"{{ [c] a = Conv(x, w) [r] b = {reader} [d] y = Conv(b, v) }}",
        weights,
    )
    feeds = [{"x": generator.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(4)]
    pipeline = planish.Pipeline.parse("int8{measure=false,exclude=[r]}")
    result = pipeline.run(graph, feeds, verify="off", strict=True)
    found = planish.lower(result.graph, "onnxruntime")(feeds[0])["y"]
    plain = run_ort(planish.to_model(result.graph), feeds[0])["y"]
    assert relative_error(plain, found) < 0.05
