"""Distances against their formulas in plain numpy."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import planish
from planish.ir.core.errors import FeedError, GraphError
from planish.ir.run.comparison import compare_outputs

from tests.helpers import conv_batchnorm, graph_of


def one(a, b):
    (found,) = compare_outputs([{"y": a}], [{"y": b}]).outputs
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_formulas(dtype):
    generator = np.random.default_rng(0)
    a = generator.standard_normal((5, 7, 30)).astype(dtype)
    b = (a + 0.3 * generator.standard_normal(a.shape)).astype(dtype)
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    found = one(a, b)
    assert found.max_abs == pytest.approx(np.abs(x - y).max(), rel=1e-12)
    assert found.max_rel == pytest.approx(np.abs(x - y).max() / np.abs(x).max(), rel=1e-12)
    ratio = (x**2).sum() / ((x - y) ** 2).sum()
    assert found.sqnr_db == pytest.approx(10 * np.log10(ratio), rel=1e-12)
    cosine = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
    assert found.cosine == pytest.approx(cosine, rel=1e-12)
    assert found.top1_agreement == np.mean(a.argmax(1) == b.argmax(1))
    assert 0 < found.top1_agreement < 1


def test_many_feeds_count_as_one_long_array():
    generator = np.random.default_rng(0)
    a = [generator.standard_normal((2, 4)) for _ in range(3)]
    b = [array + 0.5 * generator.standard_normal(array.shape) for array in a]
    (found,) = compare_outputs([{"y": v} for v in a], [{"y": v} for v in b]).outputs
    whole = one(np.concatenate(a), np.concatenate(b))
    for field in ("max_abs", "max_rel", "sqnr_db", "cosine", "top1_agreement"):
        assert getattr(found, field) == pytest.approx(getattr(whole, field), rel=1e-12)


def test_equal_arrays():
    a = np.array([[1.0, -2.0]], np.float32)
    found = one(a, a.copy())
    assert (found.max_abs, found.max_rel, found.sqnr_db, found.cosine) == (0, 0, math.inf, 1)
    assert found.top1_agreement == 1


def test_nan_and_infinity_at_the_same_place_are_equal():
    a = np.array([np.nan, np.inf, -np.inf, 2.0])
    found = one(a, a.copy())
    assert found.max_abs == 0
    assert found.sqnr_db == math.inf
    b = a.copy()
    b[3] = 2.5
    assert one(a, b).max_abs == 0.5
    assert one(a, b).max_rel == 0.25


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([np.nan, 1], [0, 1]),
        ([0, 1], [np.nan, 1]),
        ([np.inf, 1], [-np.inf, 1]),
        ([np.inf, 1], [1e300, 1]),
        ([1e300, 1], [np.inf, 1]),
        ([np.nan, 1], [np.inf, 1]),
    ],
)
def test_nan_and_infinity_elsewhere_are_infinitely_far(a, b):
    found = one(np.array(a, np.float64), np.array(b, np.float64))
    assert found.max_abs == found.max_rel == math.inf
    assert found.sqnr_db == -math.inf
    assert found.cosine == 0


def test_top1_counts_feeds_that_are_infinitely_far():
    good = np.array([[1.0, 2.0]])
    bad = np.array([[np.nan, 2.0]])
    comparison = compare_outputs([{"y": good}, {"y": good}], [{"y": good}, {"y": bad}])
    assert comparison.max_abs == math.inf
    assert comparison.top1_agreement == 0.5
    other = compare_outputs([{"y": good}, {"y": good}], [{"y": good}, {"y": good[:, :1]}])
    assert other.top1_agreement == 0.5


def test_another_shape_or_type_is_infinitely_far():
    a = np.ones((2, 3), np.float32)
    assert one(a, np.ones((3, 2), np.float32)).max_abs == math.inf
    assert one(a, np.ones((2, 3), np.float64)).max_abs == math.inf
    assert one(a, np.ones((1, 3), np.float32)).max_rel == math.inf


def test_zeros():
    zeros, ones = np.zeros(3), np.ones(3)
    assert one(zeros, zeros).max_rel == 0
    found = one(zeros, ones)
    assert (found.max_abs, found.max_rel, found.sqnr_db) == (1, math.inf, -math.inf)
    assert one(ones, zeros).sqnr_db == 0
    assert one(np.zeros((0, 3)), np.zeros((0, 3))).max_abs == 0


def test_integers_booleans_complex_and_strings():
    big = np.array([2**62, 5], np.int64)
    assert one(big, big).max_abs == 0
    assert one(big, big + np.array([1, 0])).max_abs >= 1  # equal once both are float64
    assert one(np.array([[1, 9]]), np.array([[9, 1]])).top1_agreement is None
    assert one(np.array([0, 200], np.uint8), np.array([200, 0], np.uint8)).max_abs == 200
    assert one(np.array([True]), np.array([False])).max_abs == 1
    a = np.array([[1 + 2j, 3], [0, 1j]])
    assert one(a, a + np.array([[0, 0], [0, 2j]])).max_abs == 2
    assert one(a, a).top1_agreement is None
    s = np.array(["a", "b"], object)
    assert one(s, s.copy()).max_abs == 0
    assert one(s, np.array(["a", "c"], object)).max_abs == math.inf


def test_top1_needs_several_classes():
    assert one(np.ones(3), np.ones(3)).top1_agreement is None
    assert one(np.ones((3, 1)), np.ones((3, 1))).top1_agreement is None


def test_the_worst_output_decides():
    a = {"p": np.array([1.0, 2.0]), "q": np.array([[100.0, 1.0]])}
    b = {"p": np.array([1.0, 2.5]), "q": np.array([[101.0, 1.0]])}
    found = compare_outputs([a], [b])
    assert found.worst.name == "p"
    assert found.max_rel == 0.25
    assert found.max_abs == 1
    assert found.sqnr_db == pytest.approx(10 * math.log10(5 / 0.25))
    assert found.top1_agreement == 1


def test_graphs_that_differ_by_a_known_factor():
    text = "g (float[N, 4] x) => (float[N, 4] {0}) {{ {0} = Mul(x, k) }}"
    a = graph_of(text.format("y"), {"k": np.array(2, np.float32)})
    b = graph_of(text.format("z"), {"k": np.array(2.5, np.float32)})
    feeds = [{"x": np.random.default_rng(i).standard_normal((3, 4)).astype("f")} for i in range(2)]
    found = planish.compare(a, b, feeds)  # one output each: matched by position
    assert found.max_rel == pytest.approx(0.25, rel=1e-6)
    assert found.cosine == pytest.approx(1, abs=1e-7)
    assert found.sqnr_db == pytest.approx(10 * math.log10(16), rel=1e-6)
    assert found.top1_agreement == 1
    same = planish.compare(a, a, feeds)
    assert same.max_abs == 0


def test_outputs_are_matched_by_name():
    a = graph_of("g (float[2] x) => (float[2] p, float[2] q) { p = Relu(x)\n q = Neg(x) }")
    b = graph_of("g (float[2] x) => (float[2] q, float[2] p) { p = Relu(x)\n q = Neg(x) }")
    assert planish.compare(a, b, [{"x": np.array([1, 2], "f")}]).max_abs == 0


def test_what_cannot_be_compared_is_refused():
    a = graph_of("g (float[2] x) => (float[2] p, float[2] q) { p = Relu(x)\n q = Neg(x) }")
    b = graph_of("g (float[2] x) => (float[2] p) { p = Relu(x) }")
    x = {"x": np.zeros(2, "f")}
    with pytest.raises(GraphError, match="2 and 1 outputs"):
        planish.compare(a, b, [x])
    with pytest.raises(GraphError, match="no feeds"):
        planish.compare(a, a, [])
    with pytest.raises(FeedError, match="'z'"):
        planish.compare(a, a, [{"z": x["x"]}])


def sequence_graph(*, extra):
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("SequenceConstruct", ["x"], ["s"]),
        helper.make_node("Neg", ["x"], ["y"]),
    ]
    outputs = [helper.make_value_info("s", kind)]
    if extra:
        outputs.append(value("y", TensorProto.FLOAT, [2]))
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [2])], outputs)
    imports = [helper.make_opsetid("", 20)]
    made = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    return planish.load(made)


def test_sequences_are_not_reported_as_equal():
    feeds = [{"x": np.array([1, 2], "f")}]
    graph = sequence_graph(extra=True)
    assert [o.name for o in planish.compare(graph, graph, feeds).outputs] == ["y"]
    graph = sequence_graph(extra=False)
    with pytest.raises(GraphError, match="nothing to compare"):
        planish.compare(graph, graph, feeds)


def test_a_wrong_epsilon_is_visible():
    a, b = (planish.load(conv_batchnorm(epsilon=e)) for e in (1e-3, 1e-5))
    assert planish.compare(a, b, planish.random_feeds(a)).max_rel > 6e-4
