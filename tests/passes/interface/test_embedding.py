"""What callers do before and behind a network, inside: against numpy."""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, model_of, run_ort

PICTURE = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), np.uint8)
CONV = """g (float[N, 3, H, W] x) => (float[N, 2, H, W] y) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w) }"""
WEIGHTS = {"w": np.random.default_rng(1).standard_normal((2, 3, 3, 3)).astype("f")}


def run(text, graph):
    return planish.Pipeline.parse(text).run(graph, strict=True).graph


def values(graph, **feeds):
    return run_ort(planish.to_model(graph, portable=True), feeds)


@pytest.mark.parametrize("tail", ["", ",exact"])
@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pictures(dtype, layout, bgr, tail):
    options = f"mean=[0.5,0.25,0.125],std=[0.5,1,2],layout={layout},dtype={dtype},bgr={bgr}".lower()
    found = run(f"embed-preprocessing{{{options}}}{tail}", graph_of(CONV, WEIGHTS))
    picture = PICTURE.astype(dtype)
    given = picture if layout == "nhwc" else picture.transpose(0, 3, 1, 2)
    seen = picture[..., ::-1] if bgr else picture
    scaled = (seen.astype("f8") / 255 - [0.5, 0.25, 0.125]) / [0.5, 1, 2]
    feed = {"x": scaled.transpose(0, 3, 1, 2).astype("f")}
    expected = run_ort(model_of(CONV, WEIGHTS), feed)["y"]
    got = values(found, x=np.ascontiguousarray(given))["y"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)
    sizes = ["N", "H", "W", 3] if layout == "nhwc" else ["N", 3, "H", "W"]
    assert list(found.inputs[0].shape) == sizes
    assert found.inputs[0].dtype == np.dtype(dtype)


def test_a_network_that_takes_0_to_255():
    found = run("embed-preprocessing{divide-by=1}", graph_of(CONV, WEIGHTS))
    feed = {"x": PICTURE.transpose(0, 3, 1, 2).astype("f")}
    expected = run_ort(model_of(CONV, WEIGHTS), feed)["y"]
    np.testing.assert_array_equal(values(found, x=PICTURE)["y"], expected)
    assert {node.op for node in found.nodes} == {"Cast", "Transpose", "Conv"}


SCORES = "g (float[N, 5] x) => (float[N, 5] y) { y = Neg(x) }"
X = np.random.default_rng(2).standard_normal((3, 5)).astype("f")


def test_shares():
    got = values(run("embed-postprocessing{softmax}", graph_of(SCORES)), x=X)["y"]
    shares = np.exp(-X.astype("f8"))
    np.testing.assert_allclose(got, shares / shares.sum(1, keepdims=True), rtol=1e-6)


def test_classes_of_samples_and_of_pixels():
    got = values(run("embed-postprocessing{argmax}", graph_of(SCORES)), x=X)["y"]
    np.testing.assert_array_equal(got, (-X).argmax(1))
    maps = "g (float[N, 3, 2, 2] x) => (float[N, 3, 2, 2] y) { y = Neg(x) }"
    x = np.random.default_rng(3).standard_normal((2, 3, 2, 2)).astype("f")
    found = run("embed-postprocessing{argmax}", graph_of(maps))
    np.testing.assert_array_equal(values(found, x=x)["y"], (-x).argmax(1))
    assert list(found.outputs[0].shape) == ["N", 2, 2]


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_the_largest_and_where_they_are(opset):
    text = f'<ir_version: 7, opset_import: ["" : {opset}]>\n{SCORES}'
    got = values(run("embed-postprocessing{top-k=2}", graph_of(text)), x=X)
    order = np.argsort(X, 1)[:, :2]
    np.testing.assert_array_equal(got["y_indices"], order)
    np.testing.assert_array_equal(got["y"], np.take_along_axis(-X, order, 1))


@pytest.mark.parametrize("text", ["embed-postprocessing{softmax,top-k=2}", "embed-preprocessing"])
def test_a_second_run_makes_no_edit(text):
    pipeline = planish.Pipeline.parse(text)
    first = pipeline.run(
        graph_of(SCORES if "post" in text else CONV, WEIGHTS if "pre" in text else {})
    )
    assert first.edits == 1
    assert pipeline.run(first.graph).edits == 0


@pytest.mark.parametrize(
    ("text", "graph", "words"),
    [
        ("embed-preprocessing", SCORES, "which of the inputs takes pictures (x)"),
        ("embed-preprocessing{input=xx}", CONV, "did you mean 'x'"),
        ("embed-preprocessing{mean=[1,2]}", CONV, "mean has 2 values, and there are 3 channels"),
        ("embed-preprocessing{std=0}", CONV, "cannot be 0"),
        ("embed-postprocessing", SCORES, "name one"),
        ("embed-postprocessing{argmax,top-k=2}", SCORES, "exclude each other"),
        ("embed-postprocessing{top-k=9}", SCORES, "has 5 classes"),
        ("embed-postprocessing{softmax,output=z}", SCORES, "no output 'z'"),
        ("embed-postprocessing{softmax,axis=7}", SCORES, "has 2 axes"),
    ],
)
def test_what_is_refused(text, graph, words):
    with pytest.raises(planish.PlanishError) as caught:
        run(text, graph_of(graph, WEIGHTS if graph is CONV else {}))
    assert words in str(caught.value)
