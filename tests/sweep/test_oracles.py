"""Who is asked where ONNX Runtime's own answers may be the fault."""

import numpy as np
import pytest

from .check import check
from .judge import Judge
from .oracles import OVERFLOWS, settles
from tests.helpers import model_of, run_ort
from tests.strategies.random_graphs import Drawn

SUM = "g (float[2] x) => (float[2] y) { a = Add(x, x) y = Sub(a, one) }"
X = np.array([1.0, 3.0], np.float32)


def test_tensors_that_the_runtime_lays_in_one_place_are_no_fault():
    """Its inference gives a part of an axis, from a Slice of opset 10, the name of the whole."""
    model = model_of(
        """<ir_version: 9, opset_import: ["" : 10]>
        g (float[N, 2] x, float t) => (float[] y, float[] z) <float low = {0}, float high = {0}> {
            a = Mul(t, x) y = Mul(x, a) b = Max(low, x) c = Min(b, high)
            d = Slice(c, four, same, , three) z = Softmax <axis = -2> (d) }""",
        {"four": np.array([-4]), "same": np.array([-4]), "three": np.array([3])},
    )
    feed = {"x": np.ones((5, 2), np.float32), "t": np.array(2, np.float32)}
    found = check(Drawn(model=model, feeds=[feed], outputs=[run_ort(model, feed)]))
    assert found.fault is None
    assert found.edits
    assert set(found.settled) == {"no memory shared"}


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_what_is_wrong_by_all_oracles_is_a_fault(wrong):
    model = model_of(SUM, {"one": np.float32(1)})
    right = {"y": 2 * X - 1}
    found = {"y": right["y"] + np.float32(wrong)}
    assert (settles(Judge(model), {"x": X}, right, lambda _: found, None) == "") == bool(wrong)


def test_the_reference_decides_where_it_differs_from_what_the_runtime_gave():
    """A type that the runtime lacks keeps it from answering at all."""
    model = model_of("g (int16[2] x) => (int16[2] y) { y = Max(x, two) }", {"two": np.int16(2)})
    x = np.array([1, 3], np.int16)
    right, wrong = {"y": np.maximum(x, 2)}, {"y": x}
    assert settles(Judge(model), {"x": x}, wrong, lambda _: right, None) == "reference"
    assert settles(Judge(model), {"x": x}, right, lambda _: right, None) == ""


def test_what_the_runtime_keeps_in_32_bits_between_nodes_is_no_fault():
    """It has no Asinh of float16, and takes a Cast to 16 bits and one back for none."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 13]> g (uint64[2] x) => (float16[] y) {
            a = Cast <to = 10> (x) y = Loop (two, yes, a) <body = b (int64 i, bool c, float16[] d)
            => (bool e, float16[] f) { e = Identity(c) f = Asinh(d) }> }""",
        {"two": np.array(2), "yes": np.array(True)},
    )
    feed = {"x": np.array([2**64 - 1, 3], np.uint64)}
    found = check(Drawn(model=model, feeds=[feed], outputs=[run_ort(model, feed)]))
    assert found.fault is None
    assert set(found.settled) == {"reference of the result"}


def test_a_kernel_that_is_wrong_of_the_untouched_model_is_no_fault():
    """Of text, ONNX Runtime's Gather takes one element of each row."""
    model = model_of(
        "g (string[3] x) => (string[] y) { r = Reshape(x, s) y = Gather(r, i) }",
        {"s": np.array([1, 3]), "i": np.array([0])},
    )
    feed = {"x": np.array(["a", "b", "c"], object)}
    found = check(Drawn(model=model, feeds=[feed], outputs=[run_ort(model, feed)]))
    assert found.fault is None
    assert set(found.settled) == {"reference"}


def test_what_overflows_in_16_bits_on_the_way_is_not_judged():
    """-inf - -inf is no number, of which the runtime's ArgMin may take the next."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 13]> g (int64[1, 4] x) => (int64[] y) {
            a = Cast <to = 10> (x) b = Sub(a, a) c = Add(b, a) y = ArgMin <axis = -1> (c) }""",
        {},
    )
    right, wrong = {"y": np.array([[1]])}, {"y": np.array([[2]])}
    for least, who in ((-(2**63), OVERFLOWS), (-4, "")):
        feed = {"x": np.array([[0, least, -1, 3]])}
        assert settles(Judge(model), feed, right, lambda _: wrong, None) == who


@pytest.mark.parametrize("constant", [3.4e38, 3.4])
def test_what_overflows_on_the_way_is_not_judged(constant):
    """x * c / c is x of what stays in range: a certificate says so much, and no more."""
    model = model_of(
        """<ir_version: 9, opset_import: ["" : 20]> g (float[2] x) => (float[] y) {
            a = Add(x, big) b = Mul(a, c) y = Div(b, c) }""",
        {"big": np.float32(constant), "c": np.float32(2.5e7)},
    )
    feed = {"x": X}
    wanted, found = run_ort(model, feed), {"y": np.full(2, np.inf, np.float32)}
    if constant > 1e38:
        wanted, found = found, {"y": X + np.float32(constant)}
    assert bool(Judge(model).differs(feed, wanted, found, None)) == (constant < 1e38)
