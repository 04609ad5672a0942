"""Outputs that are the same after many a mistake are not called verified."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish import Pipeline, bisect
from planish.ir.core.errors import PassError, VerificationError
from planish.passes.trust.telling import reached_outputs, untelling

from tests.helpers import graph_of
from tests.passes.trust.changed import become

W = {
    "minus": np.full(4, -1, np.float32),
    "far": np.full(4, -1e3, np.float32),
    "b": np.arange(4, dtype=np.float32),
    "zero": np.zeros(4, np.float32),
    "none": np.zeros(0, np.int64),
    "k": np.float32(1e3),
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = Exp(i) b2 = Mul(a, minus) y = Log(b2)", "is NaN or infinite throughout; feeds on"),
        ("a = Div(i, zero) y = Abs(a)", "is NaN or infinite throughout"),
        ("y = Mul(i, zero)", "is 0.0 throughout; feeds on which it varies would tell"),
        ("a = Add(i, far) y = Relu(a)", "is 0.0 throughout"),
        ("a = Add(i, k) y = Sigmoid(a)", "is 1.0 throughout"),
        ("a = Add(i, far) r = Relu(a) y = Add(r, b)", "is the same for all inputs that were tried"),
        ("y = Gather <axis = 1> (i, none)", "is empty; feeds on which it has elements would tell"),
    ],
)
def test_nothing_is_shown(text, reason, verify, given):
    feeds = [{"x": np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)}]
    used = {name: values for name, values in W.items() if f" {name})" in text}
    graph = f"g (float[2, 4] x) => (float[2, n] y) {{ i = Identity(x) {text} }}"
    result = Pipeline.parse("eliminate-identities").run(
        graph_of(graph, used), feeds if given else None, verify
    )
    assert result.edits == 1
    assert not result.verified
    assert f"nothing was shown: output 'y' {reason}" in result.note
    with pytest.raises(PassError, match=f"cannot bisect: nothing was shown: output 'y' {reason}"):
        bisect(Pipeline.parse("eliminate-identities"), graph_of(graph, used))


@pytest.mark.parametrize(
    ("activation", "feeds", "number"),
    [
        ("y = Sigmoid(x)", np.random.default_rng(1).uniform(20, 30, (8, 4)), 1.0),
        ("y = Sigmoid(x)", np.full((1, 1), 25), 1.0),  # one probability of one sample
        ("n = Neg(x) e = Exp(n) d = Add(e, one) y = Div(one, d)", np.full((8, 4), -90), 0.0),
        ("y = Tanh(x)", np.random.default_rng(2).uniform(-30, -20, (8, 4)), -1.0),
        ("y = Softmax(x)", np.arange(1, 9)[:, None] * np.float32([300, 0, 150, 0]), [1, 0, 0, 0]),
    ],
)
def test_an_activation_at_its_end_shows_nothing(activation, feeds, number):
    """A constant in its place is the same on all that was compared, though not elsewhere."""
    shape = f"float[1, {feeds.shape[1]}]"
    weights = {"one": np.float32(1)} if "one" in activation else {}
    text = f"g ({shape} x) => ({shape} y) {{ {activation} }}"
    end = np.full((1, feeds.shape[1]), number, np.float32)
    result = become(
        text,
        f"g ({shape} x) => ({shape} y) {{ z = Sub(x, x) y = Add(z, end) }}",
        {**weights, "end": end},
        [{"x": feed[None].astype(np.float32)} for feed in feeds],
    )
    assert not result.verified
    assert "nothing was shown: output 'y' is" in result.note


def test_feeds_that_tell_are_enough():
    text = "g (float[2, 4] x) => (float[2, 4] y) { i = Identity(x) a = Add(i, far) y = Relu(a) }"
    feeds = [{"x": np.full((2, 4), 2e3, np.float32) + W["b"]}]
    far = {"far": W["far"]}
    assert Pipeline.parse("eliminate-identities").run(graph_of(text, far), feeds).verified


TWO = """g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z) {{
    i = Identity(x) y = Mul(i, {}) z = Mul(i, zero) }}"""


def test_each_output_counts_and_a_mistake_beside_it_is_found():
    weights = {"zero": W["zero"], "b": W["b"], "c": W["b"] * np.float32(1.01)}
    result = become(TWO.format("b"), TWO.format("b"), weights)
    assert not result.verified
    assert "'z' is 0.0" in result.note.replace("-0.0", "0.0")
    assert "'y'" not in result.note
    with pytest.raises(VerificationError, match="output 'y'"):
        become(TWO.format("b"), TWO.format("c"), weights)


@pytest.mark.parametrize(
    "text",
    [
        "g () => (float[4] y) { y = Identity(b) }",  # what no input reaches is shown as it is
        "g (float[2, 4] x) => (int64[2] y) { i = Identity(x) y = Shape(i) }",
        "g (float[2, 4] x) => (float[] y, int64[] z) { y = ReduceMax(x) z = Size(x) }",
        "g (float[2, 4] x) => (int64[2, 1] y) { y = ArgMax <axis = 1> (x) }",
        "g (int64[1] x) => (float[1] y) { y = Gather(b, x) }",
        "g (bool[3] x) => (bool[3] y) { y = Not(x) }",
    ],
)
def test_outputs_that_tell(text):
    used = {name: values for name, values in W.items() if f"({name}" in text}
    result = Pipeline.parse("eliminate-identities").run(graph_of(text, used))
    assert result.verified, result.note


def test_a_partly_nan_output_tells():
    text = "g (float[4] x) => (float[4] y) { i = Identity(x) r = Sqrt(m) y = Add(i, r) }"
    weights = {"m": np.array([-1, 1, 2, 3], np.float32)}
    assert Pipeline.parse("eliminate-identities").run(graph_of(text, weights)).verified


def test_only_values_reach():
    graph = graph_of(
        """g (float[N, 4] x, bool t) => (float[N, 4] a, float[] b, float[] c, float[4] d) {
            a = Neg(x) s = Shape(x) b = ConstantOfShape(s)
            c = If (t) < then_branch = p () => (float[] u) { u = Identity(d) },
                else_branch = q () => (float[] v) { v = Identity(d) }>
            d = Identity(k) }""".replace("d = Identity(k) }", "}").replace(
            "a = Neg(x)", "d = Identity(k) a = Neg(x)"
        ),
        {"k": W["b"]},
    )
    assert reached_outputs(graph) == {"a", "c"}


def test_the_command_says_not_verified(tmp_path):
    from typer.testing import CliRunner

    from planish.cli.main import app

    model = tmp_path / "m.onnx"
    text = "g (float[2, 4] x) => (float[2, 4] y) { i = Identity(x) y = Mul(i, zero) }"
    planish.save(graph_of(text, {"zero": W["zero"]}), model)
    shown = CliRunner().invoke(app, ["optimize", str(model), "-o", str(tmp_path / "o.onnx")])
    assert shown.exit_code == 0
    assert "NOT verified: nothing was shown: output 'y' is" in shown.output
    assert "\nverified" not in shown.output
    searched = CliRunner().invoke(app, ["bisect", str(model)])
    assert "every edit keeps" not in searched.output


def test_nan_beside_one_number_shows_nothing():
    text = """g (float[1, 8] x) => (float[1, 8] y) {
        r = Relu(x)
        m = Sub(r, half)
        s = Sqrt(m)
        y = Mul(s, zero)
    }"""
    constants = {"half": np.array(0.5, np.float32), "zero": np.array(0, np.float32)}
    result = Pipeline.parse("exact").run(graph_of(text, constants))
    assert not result.verified
    assert "is 0.0 or NaN throughout; feeds on which it varies would tell" in result.note


@pytest.mark.parametrize("outputs", ["seq(float[2]) s", "float[2] b, seq(float[2]) s"])
def test_a_sequence_is_not_compared_and_that_is_said(outputs):
    text = (
        f"g (float[2] x) => ({outputs}) {{ a = Identity(x) b = Relu(a) s = SequenceConstruct(b) }}"
    )
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')
    result = Pipeline.parse("exact").run(planish.load(model))
    assert result.edits
    assert not result.verified
    assert "nothing was shown: output 's' is a sequence" in result.note


@pytest.mark.parametrize(("elements", "tries"), [(4, 6), (64, 2)])
def test_many_numbers_that_are_the_same_are_so_by_no_chance(elements, tries):
    feeds = [{"x": np.linspace(-1, 1, elements, dtype=np.float32)}]
    graph = graph_of(f"g (float[{elements}] x) => (float[{elements}] y) {{ y = Relu(x) }}")
    fixed, asked = {"y": np.arange(elements, dtype=np.float32)}, []

    def run(feed):
        asked.append(feed)
        return dict(fixed)

    found = untelling(graph, feeds, [fixed], run, 0)
    assert found["y"].startswith("is the same for all inputs that were tried")
    assert len(asked) == tries
