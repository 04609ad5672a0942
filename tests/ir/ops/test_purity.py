"""What gives the same tensors for the same inputs: two runs of ONNX Runtime say so."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest

import planish
from planish.ir.ops.purity import draws, is_pure, random_outputs

from tests.helpers import model_of

X = np.ones(40, np.float32)
RATIO = {"half": np.float32(0.5), "yes": np.array(True), "no": np.array(False)}


def _random(op):
    return f"{op} <shape = [40]>"


def opened(body):
    used = {name: value for name, value in RATIO.items() if name in body}
    return model_of(f"g (float[40] x) => (float[40] a, float[40] b) {{ {body} }}", used)


def session_of(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    data = model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("body", "random"),
    [
        ("a = Relu(x) b = Exp(a)", set()),
        (f"a = {_random('RandomNormal')} () b = Relu(x)", {"a"}),
        (f"r = {_random('RandomUniform')} () a = Relu(x) b = Mul(r, x)", {"b"}),
        (f"a = Relu(x) r = {_random('RandomUniform')} () s = Neg(r) b = Add(x, s)", {"b"}),
        ("a = Dropout(x, half, yes) b = Relu(x)", {"a"}),
        ("a = Dropout(x, half, no) b = Relu(x)", set()),
        ("a = Dropout(x, half) b = Relu(x)", set()),
        ("a = Relu(x) n = Not(no) b = Dropout(x, half, n)", {"b"}),
        (
            f"""a = Relu(x) b = If (no)
            <then_branch = t () => (float[40] u) {{ u = Relu(x) }},
             else_branch = e () => (float[40] v) {{ v = {_random("RandomNormal")} () }}>""",
            {"b"},
        ),
        (
            f"""r = {_random("RandomNormal")} () a = Relu(x) b = If (no)
            <then_branch = t () => (float[40] u) {{ u = Relu(x) }},
             else_branch = e () => (float[40] v) {{ v = Relu(r) }}>""",
            {"b"},
        ),
    ],
)
def test_outputs_that_change_from_run_to_run(body, random):
    model = opened(body)
    assert random_outputs(planish.load(model)) == random
    session = session_of(model)
    first, second = (session.run(["a", "b"], {"x": X}) for _ in range(2))
    pairs = zip(("a", "b"), first, second, strict=True)
    assert {name for name, *values in pairs if not np.array_equal(*values)} == random


@pytest.mark.parametrize(
    "body",
    [
        "a = RandomNormal <shape = [40], seed = 3.0> () b = Relu(x)",
        "a = Dropout <seed = 1>(x, half, yes) b = Relu(x)",
    ],
)
def test_a_seed_makes_sessions_alike(body):
    model = opened(body)
    assert random_outputs(planish.load(model)) == set()
    first, second = (session_of(model).run(["a"], {"x": X})[0] for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = RandomNormal <shape = [2], seed = 3.0> ()", True),
        ("y = RandomNormalLike (x)", True),
        ("y = Relu (x)", False),
        ("y = Dropout(x, half)", False),
        ("y = Dropout(x, half, no)", True),
        ("y = Dropout(x, half, t)", True),
        (
            """y = If (t) <then_branch = a () => (float[2] u) { u = Relu(x) },
             else_branch = e () => (float[2] v) { v = Multinomial <dtype = 1> (x) }>""",
            True,
        ),
        (
            """y = If (t) <then_branch = a () => (float[2] u) { u = Relu(x) },
             else_branch = e () => (float[2] v) { v = Neg (x) }>""",
            False,
        ),
    ],
)
def test_what_draws_with_a_seed_or_without(body, expected):
    used = {name: value for name, value in RATIO.items() if name in body}
    graph = planish.load(model_of(f"g (float[2] x, bool t) => (float[2] y) {{ {body} }}", used))
    assert draws(graph.nodes[0]) is expected


def test_another_domain_draws_nothing_that_is_known():
    assert not draws(gs.Node("RandomNormal", domain="com.example"))
    empty = [gs.Variable("x"), gs.Variable("r"), gs.Variable.empty()]
    assert not draws(gs.Node("Dropout", inputs=empty))


def test_what_is_pure():
    assert is_pure("Relu", 13)
    assert not is_pure("RandomNormal", 13)
    assert not is_pure("SequenceConstruct", 13)
    assert not is_pure("NoSuchOperator", 13)
