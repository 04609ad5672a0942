"""The preset `exact` on random graphs of five kinds, and the tools that look for faults in it."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.strategies.random_graphs import KINDS, Drawn, graph
from tests.strategies.random_graphs.evaluate import run_session, session_of
from tests.sweep.check import Fault, check
from tests.sweep.judge import Judge
from tests.sweep.smaller import smaller
from tests.sweep.subjects import fault_of


@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind):
    faults = {number: fault_of(kind, number)[1].fault for number in range(8)}
    assert {number: fault for number, fault in faults.items() if fault} == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_exact_on_many(kind):
    faults = {number: fault_of(kind, number)[1].fault for number in range(1000)}
    assert {number: fault for number, fault in faults.items() if fault} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_few_graphs_are_dropped_and_seeds_draw_again(kind):
    drawn = [graph(kind, Random(f"{kind} {number}")) for number in range(20)]
    assert sum(found is None for found in drawn) <= 4
    again = [graph(kind, Random(f"{kind} {number}")) for number in range(5)]
    assert [d and d.model for d in again] == [d and d.model for d in drawn[:5]]
    refused = sum(found.refused for found in drawn if found)
    assert refused < 0.3 * sum(found.proposed for found in drawn if found)


def _drawn(text: str, **feed: np.ndarray) -> Drawn:
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 20]>' + text)
    return Drawn(model=model, feeds=[feed], outputs=[run_session(session_of(model), feed)])


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("text", "other", "kind"),
    [
        ("y = Mul(x, x)", "y = Add(x, x)", "floats"),
        (
            "y = Relu(x)",
            "c = Constant <value_float = 1.00002> () r = Relu(x) y = Mul(r, c)",
            "floats",
        ),
        ("y = Sqrt(x)", "a = Abs(x) y = Sqrt(a)", "floats"),
        ("y = Shape(x)", "s = Shape(x) y = Neg(s)", "integers"),
        ("y = Relu(x)", "y = Transpose(x)", "shape"),
        ("y = Relu(x)", "y = Cast <to = 11> (x)", "type"),
        ("y = Relu(x)", "y = Clip(x, , )", "floats"),
    ],
)
def test_differences_are_told(text, other, kind):
    wanted, found = (_drawn(f"g (float[3, 4] x) => (y) {{ {t} }}", x=X) for t in (text, other))
    judge = Judge(wanted.model)
    feed, outputs = wanted.feeds[0], wanted.outputs[0]
    assert judge.differs(feed, outputs, outputs, wanted.model) is None
    assert judge.differs(feed, outputs, found.outputs[0], found.model)[0] == kind


def test_what_depends_on_infinity_does_not_count():
    wide = X.copy()
    wide[0, 0] = np.inf
    before = _drawn("g (float[3, 4] x) => (y) { a = Sub(x, x) y = Add(a, x) }", x=wide)
    after = _drawn("g (float[3, 4] x) => (y) { y = Identity(x) }", x=wide)
    judge = Judge(before.model)
    assert judge.differs(before.feeds[0], before.outputs[0], after.outputs[0], after.model) is None


def test_cancelling_sums_are_rounding_and_mistakes_are_none():
    text = "g (float[3, 4] x) => (y) {{ {} }}"
    big = "c = Constant <value_float = 4096.0> () "
    before = _drawn(text.format(big + "a = Add(x, c) y = Sub(a, c)"), x=X)
    after = _drawn(text.format("y = Identity(x)"), x=X)
    wrong = _drawn(text.format("y = Neg(x)"), x=X)
    judge = Judge(before.model)
    feed, outputs = before.feeds[0], before.outputs[0]
    assert judge.differs(feed, outputs, after.outputs[0], after.model) is None
    assert judge.differs(feed, outputs, wrong.outputs[0], wrong.model)[0] == "floats"


def test_a_fault_is_made_small():
    drawn = _drawn(
        "g (float[3, 4] x) => (y, z) { a = Relu(x) b = Neg(a) c = Exp(b) y = Tanh(c) z = Sin(a) }",
        x=X,
    )

    def verdict(found: Drawn) -> Fault | None:
        ops = [node.op_type for node in found.model.graph.node]
        return Fault("planted", "it computes an Exp") if "Exp" in ops else None

    small = smaller(drawn, Fault("planted", ""), verdict)
    assert [node.op_type for node in small.model.graph.node] == ["Exp"]
    assert len(small.outputs[0]) == 1


def test_a_pass_that_breaks_a_graph_is_found(monkeypatch):
    from planish.ir.ops.linear import layer

    original = layer.stored
    monkeypatch.setattr(layer, "stored", lambda values, dtype: original(values * 1.001, dtype))
    weights = {"w": np.ones((2, 3, 1, 1), "f"), "c": np.full((2, 1, 1), 2, "f")}
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]>'
        "g (float[1, 3, 2, 2] x) => (float[] y) { a = Conv(x, w) y = Mul(a, c) }"
    )
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    feed = {"x": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)}
    outputs = run_session(session_of(model), feed)
    assert check(Drawn(model=model, feeds=[feed], outputs=[outputs])).fault.kind == "floats"


def test_signs_of_zeros_are_no_fault():
    drawn = _drawn(
        "g (float[3, 4] x) => (y) {"
        "a = Constant <value_float = -2.0> () z = Constant <value_float = 0.0> () "
        "b = Abs(x) c = Mul(b, a) d = Mul(c, z) y = Reciprocal(d) }",
        x=X,
    )
    report = check(drawn)
    assert report.fault is None
