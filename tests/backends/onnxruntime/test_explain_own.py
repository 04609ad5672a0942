"""What planish itself quantized, against the file it was made of: folded, padded, with sizes."""

import numpy as np
import pytest

import planish
from planish.backends.onnxruntime.explain.explain import apply_exclusions

from tests.helpers import model_of, relative_error, run_ort

RNG = np.random.default_rng(0)
TEXT = """g (float[1, 3, 16, 16] x) => (float[N, M] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w)
    b = BatchNormalization(a, s, o, m, v)
    c = Relu(b)
    d = Conv<pads = [1, 1, 1, 1]>(c, u)
    e = BatchNormalization(d, s, o, m, v)
    f = Relu(e)
    h = Shape(f)
    n = Gather(h, zero)
    k = Unsqueeze(n, axes)
    t = Concat<axis = 0>(k, rest)
    y = Reshape(f, t)
}"""
WEIGHTS = {
    "w": RNG.standard_normal((18, 3, 3, 3)).astype(np.float32),
    "u": RNG.standard_normal((18, 18, 3, 3)).astype(np.float32) / 4,
    "s": RNG.uniform(0.3, 3, 18).astype(np.float32),
    "o": RNG.standard_normal(18).astype(np.float32) / 10,
    "m": RNG.standard_normal(18).astype(np.float32) / 10,
    "v": RNG.uniform(0.5, 2, 18).astype(np.float32),
    "zero": np.array(0),
    "axes": np.array([0]),
    "rest": np.array([-1]),
}
FEEDS = [{"x": RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]


def original():
    model = model_of(TEXT, WEIGHTS)
    for node in model.graph.node:
        node.name = f"node-{node.output[0]}"
    return planish.load(model)


@pytest.fixture(scope="module")
def quantized():
    made = planish.quantize(original(), FEEDS, measure=False, guard="off", correct_bias=False).graph
    return planish.load(planish.to_model(made, portable=True))


@pytest.fixture(scope="module")
def layers(quantized):
    report = planish.explain_int8(quantized, original(), FEEDS, most=0)
    assert report.foreign == ()
    assert report.unmatched == ()  # a Pad of channels, that planish put there, is no layer
    return [layer for layer in report.layers if layer.op == "Conv"]


def test_every_layer_is_paired_with_that_of_the_file(layers):
    assert len(layers) == 2
    for layer in layers:
        assert layer.precision == "int8"
        assert 20 < layer.local < layer.weights < 60  # the pair behind it adds noise
        assert 20 < layer.cumulative < 60


def test_the_error_of_weights_is_that_of_the_folded_ones(quantized, layers):
    """Up to the factor of each channel, which equalization has moved into the next layer."""
    folded = WEIGHTS["w"] * (WEIGHTS["s"] / np.sqrt(WEIGHTS["v"] + 1e-5))[:, None, None, None]
    node = next(node for node in quantized.nodes if node.op == "Conv")
    stored, steps, zero = (t.values for t in node.inputs[1].inputs[0].inputs)
    assert len(stored) == 20  # padded
    columns = [array.astype(np.float64).reshape(-1, 1, 1, 1) for array in (steps, zero)]
    found = ((stored - columns[1]) * columns[0])[:18, :3].reshape(18, -1)
    wanted = folded.reshape(18, -1)
    wanted *= ((found * wanted).sum(1) / (wanted**2).sum(1))[:, None]
    ratio = (wanted**2).sum() / ((found - wanted) ** 2).sum()
    # Of weights rounded for what comes out, less does.
    assert -1 < layers[0].weights - 10 * np.log10(ratio) < 6


def test_padded_layers_go_back_to_float(quantized, layers):
    found = apply_exclusions(quantized, [layer.node for layer in layers], original())
    model = planish.to_model(original())
    for feed in FEEDS:
        wanted, got = (run_ort(m, feed)["y"] for m in (model, planish.to_model(found)))
        assert relative_error(wanted, got) < 0.02  # the input stays on 8 bits


def test_what_computes_with_sizes_is_no_layer():
    made = planish.Pipeline.parse("fold-batchnorm,quantize{measure=false,guard=off}").run(
        original(), FEEDS
    )
    report = planish.explain_int8(made.graph, original(), FEEDS, most=0)
    ops = {layer.op for layer in report.layers}
    assert {"Conv", "Reshape"} <= ops
    assert not ops & {"Shape", "Gather", "Unsqueeze", "Concat"}


BOTTLENECK = """g (float[1, 4, 16, 16] x) => (float[1, 10] y) {
    [a] a = Conv<pads = [1, 1, 1, 1]>(x, wa, ba)
    [c] c = Clip(a, low, six)
    [p] p = Conv(c, wp)
    [e] e = Conv(p, we, be)
    [f] f = Clip(e, low, six)
    [l] l = Conv<pads = [1, 1, 1, 1]>(f, wl)
    [q] q = GlobalAveragePool(l)
    [y] y = Flatten(q)
}"""


def bottleneck():
    rng = np.random.default_rng(3)
    channels = 2.0 ** np.arange(-4, 4)
    weights = {
        "wa": rng.standard_normal((16, 4, 3, 3)) / 2,
        "ba": rng.standard_normal(16),
        "wp": rng.standard_normal((8, 16, 1, 1)) * channels[:, None, None, None] / 4,
        "we": rng.standard_normal((16, 8, 1, 1)) / channels[:, None, None] / 4,
        "be": rng.standard_normal(16),
        "wl": rng.standard_normal((10, 16, 3, 3)) / 12,
        "low": np.array(0),
        "six": np.array(6),
    }
    weights = {name: np.asarray(values, np.float32) for name, values in weights.items()}
    return planish.load(model_of(BOTTLENECK, weights))


def test_layers_that_stay_float_are_paired_as_they_were_scaled_and_bounded():
    rng = np.random.default_rng(4)
    feeds = [{"x": rng.standard_normal((1, 4, 16, 16)).astype(np.float32)} for _ in range(4)]
    steps = planish.Pipeline.parse('equalize-ranges,quantize{exclude=["a","p","e"],measure=false}')
    made = steps.run(bottleneck(), feeds, verify="off").graph
    scaled = next(node.inputs[1].values for node in made.nodes if node.name == "p")
    given = next(node.inputs[1].values for node in bottleneck().nodes if node.name == "p")
    assert np.abs(scaled - given).max() > 0.1
    report = planish.explain_int8(made, bottleneck(), feeds, most=0)
    assert report.foreign == ()
    shown = {layer.node: layer for layer in report.layers}
    # The result of a layer is not that of the Clip behind it.
    assert all(shown[name].cumulative > 100 for name in "acp")
    assert not any(layer.unknown for layer in report.layers)
    assert shown["p"].local is None  # it is float, and loses nothing
    assert shown["l"].weights > 30
    other = [{"x": 3 * feed["x"] ** 2} for feed in feeds]
    assert planish.explain_int8(made, bottleneck(), other, most=0).foreign == ("e", "p")


def test_what_goes_back_to_float_has_the_weights_that_were_scaled_and_not_those_of_integers():
    rng = np.random.default_rng(4)
    feeds = [{"x": rng.standard_normal((1, 4, 16, 16)).astype(np.float32)} for _ in range(4)]
    steps = planish.Pipeline.parse("equalize-ranges,quantize{guard=off,measure=false}")
    made = steps.run(bottleneck(), feeds, verify="off").graph
    names = [node.name for node in made.nodes if node.op in ("Conv", "Clip", "GlobalAveragePool")]
    back = apply_exclusions(made, names, bottleneck(), feeds)
    assert planish.compare(bottleneck(), back, feeds).sqnr_db > 100


def test_other_feeds_than_those_of_calibration_bring_no_weights_of_another_scale():
    rng = np.random.default_rng(4)
    feeds, others = (
        [{"x": rng.standard_normal((1, 4, 16, 16)).astype(np.float32)} for _ in range(4)]
        for _ in range(2)
    )
    steps = planish.Pipeline.parse("equalize-ranges,quantize{guard=off,measure=false}")
    made = steps.run(bottleneck(), feeds, verify="off").graph
    before = planish.compare(bottleneck(), made, feeds).sqnr_db
    for names in (["p"], ["e"], ["p", "e"]):
        back = apply_exclusions(made, names, bottleneck(), others)
        assert planish.compare(bottleneck(), back, feeds).sqnr_db > before - 3
