"""What may differ: nothing of integers; rounding of floats, up to a cap; float64 decides."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import VerificationError
from planish.ir.run.reference import Reference
from planish.passes.trust import judge
from planish.passes.trust.float64 import run_in_float64
from planish.passes.trust.rounding import measure_rounding, rounding_of

from tests.helpers import graph_of, model_of, relative_error, run_ort
from tests.passes.trust.changed import become

GENERATOR = np.random.default_rng(5)
X = {"x": GENERATOR.standard_normal((4, 16)).astype(np.float32)}


@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        # One of 64 elements, by one of a range of 1e9: no relative tolerance sees it.
        ("int32", "y = Add(x, big)", "a = Add(x, big) y = Add(a, last)"),
        ("int64", "y = Add(x, big)", "a = Add(x, big) y = Add(a, last)"),
        ("uint8", "y = Add(x, one)", "a = Add(x, one) y = Add(a, last)"),
    ],
)
def test_integers_are_exact(kind, right, wrong, verify):
    last = np.zeros(16, kind)
    last[-1] = 1
    weights = {"last": last, "one": np.array(1, kind)}
    if kind != "uint8":
        weights["big"] = np.array(10**9, kind)
    before = f"g ({kind}[4, 16] x) => ({kind}[4, 16] y) {{ {right} }}"
    after = f"g ({kind}[4, 16] x) => ({kind}[4, 16] y) {{ {wrong} }}"
    assert become(before, before, weights, verify=verify).verified
    with pytest.raises(VerificationError, match=r"'y' differs by up to 1, at 4 of 64 elements"):
        become(before, after, weights, verify=verify)


def test_booleans_are_exact():
    text = "g (float[4, 16] x) => (bool[4, 16] y) {{ y = Greater(x, {}) }}"
    weights = {"a": np.float32(0), "b": np.float32(np.sort(X["x"], None)[40])}
    with pytest.raises(VerificationError, match="must be equal"):
        become(text.format("a"), text.format("b"), weights, [X])


def test_wrong_sizes_are_not_excused_by_the_runtimes_optimizer():
    """The kind of a ceil_mode whose size the runtime's own optimizer gets wrong."""
    head = "g (float[1, 3, 5, 5] x) => (int64[4] y) {"
    pool = "MaxPool <ceil_mode = 1, kernel_shape = [2, 2], pads = [1,1,1,1], strides = [2,2]>"
    before = f"{head} a = {pool} (x) y = Shape(a) }}"
    image = np.zeros((1, 3, 5, 5), np.float32)
    wrong = run_ort(model_of(before), {"x": image})["y"] + [0, 0, 1, 1]
    with pytest.raises(VerificationError, match="integers, booleans and text must be equal"):
        become(before, f"{head} y = Identity(wrong) }}", {"wrong": wrong})


def test_an_index_that_rounding_decides_is_undecided_and_never_verified():
    """Which is larger, x or (x + c) - c, nobody knows."""
    before = """g (float[64, 1] x) => (int64[64] y) {
        p = Add(x, c) r = Sub(p, c) s = Concat <axis = 1> (x, r)
        y = ArgMax <axis = 1, keepdims = 0> (s) }"""
    after = before.replace("Add(x, c)", "Sub(x, c)").replace("Sub(p, c)", "Add(p, c)")
    column = {"x": X["x"].reshape(64, 1)}
    result = become(before, after, {"c": np.float32(2**10)}, [column])
    assert not result.verified
    assert "rounding alone changes" in result.note


CANCELS = """g (float[2, 3, 64, 64] x) => (float[2, 3, 1, 1] y) {{
    c = InstanceNormalization (x, s, {})
    y = {} }}"""
BIAS = {"s": np.ones(3, np.float32), "b": np.full(3, 1e-4, np.float32)}


@pytest.mark.parametrize("verify", ["each", "end"])
def test_cancellation_is_no_mistake(verify):
    """The output is the bias, 1e-4, which the mean of elements of size 4 leaves."""
    image = {"x": GENERATOR.standard_normal((2, 3, 64, 64)).astype(np.float32)}
    before = CANCELS.format("b", "ReduceMean <keepdims = 1> (c, axes)")
    after = CANCELS.format("b", "GlobalAveragePool(c)")
    weights = {**BIAS, "axes": np.array([2, 3])}
    a = run_ort(model_of(before, weights), image)["y"]
    b = run_ort(model_of(after, weights), image)["y"]
    assert np.abs(a - b).max() > 1e-5 * np.abs(a).max()  # what used to be an error
    assert become(before, after, weights, [image], verify).verified


def test_a_mistake_where_it_cancels_is_one_in_float64():
    image = {"x": GENERATOR.standard_normal((2, 3, 64, 64)).astype(np.float32)}
    before = CANCELS.format("b", "GlobalAveragePool(c)")
    after = CANCELS.format("wrong", "GlobalAveragePool(c)")
    weights = {**BIAS, "wrong": np.full(3, 1.005e-4, np.float32)}
    with pytest.raises(VerificationError, match=r"output 'y' differs by 0\.00[45]"):
        become(before, after, weights, [image])


def test_no_tolerance_is_over_the_cap():
    """(x + 2^10) - 2^10: rounding is 1e-5 of what is left; (x + 2^20) - 2^20: a part of it."""
    text = "g (float[4, 16] x) => (float[4, 16] y) {{ a = {}(x, c) y = {}(a, c) }}"
    for size, verified in ((2**10, True), (2**20, False)):
        result = become(
            text.format("Add", "Sub"),
            text.format("Sub", "Add"),
            {"c": np.float32(size)},
            [X],
        )
        assert result.verified is verified
        assert result.tolerance is None or result.tolerance <= 1e-2
        assert verified or "this network amplifies rounding by" in result.note


def test_no_tolerance_is_over_the_cap_where_float64_cannot_tell():
    """Of an operator of another domain there is no form in float64: rounding alone is known."""
    text = """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        g (float[4, 16] x) => (float[4, 16] y) {{
        a = {}(x, c) b = {}(a, c) y = com.microsoft.QuickGelu(b) }}"""
    weights = {"c": np.float32(2**20)}
    before, after = text.format("Add", "Sub"), text.format("Sub", "Add")
    assert run_in_float64(graph_of(before, weights), [X]) is None
    first, second = (run_ort(model_of(t, weights), X)["y"] for t in (before, after))
    moved = rounding_of(graph_of(before, weights), [X], [{"y": first}], 0).moved["y"]
    # More than the cap, and no more than rounding explains.
    assert 1e-2 < relative_error(first, second) <= 10 * moved
    result = become(before, after, weights, [X])
    assert not result.verified
    assert "this network amplifies rounding by" in result.note


@pytest.mark.parametrize("off", [0.0, 1.0])
def test_float64_tells_graphs_apart_only_by_more_than_it_is_off_itself(monkeypatch, off):
    """They are as far apart in it as it is from one of the runtime's answers, or farther."""
    text = "g (float[4, 16] x) => (float[4, 16] y) {{ a = {}(x, c) y = {}(a, c) }}"
    before, after = text.format("Add", "Sub"), text.format("Sub", "Add")
    weights = {"c": np.float32(2**20)}
    first, second = (run_ort(model_of(t, weights), X)["y"].astype(float) for t in (before, after))
    wide = first - off * 0.4 * np.ptp(first)
    answers = {False: [{"y": wide}], True: [{"y": second}]}
    monkeypatch.setattr(judge, "run_in_float64", lambda *_, is_small=False: answers[is_small])
    monkeypatch.setattr(judge, "rounding_in_float64", lambda *_: {"y": 0.0})
    if off:
        assert not become(before, after, weights, [X]).verified
    else:
        with pytest.raises(VerificationError, match="'y' differs by"):
            become(before, after, weights, [X])


@pytest.mark.parametrize("behind", ["y = Identity(s)", "y = Mul(s, s)", "r = Erf(s) y = Mul(r, s)"])
def test_the_operands_of_a_sum_are_a_yardstick(behind):
    """Nothing but the order of one sum differs: no weight and no operator before it rounds."""
    head = "g (float[64] a, float[64] b, float[64] c) => (float[64] y)"
    before, after = (f"{head} {{ s = Sum ({t}) {behind} }}" for t in ("a, b, c", "b, c, a"))
    a, b = np.random.default_rng(3).uniform(1e3, 1e4, (2, 64)).astype(np.float32)
    small = np.linspace(7, 8, 64)
    feed = {"a": a, "b": b, "c": (small - a.astype(np.float64) - b).astype(np.float32)}
    first, second = (run_ort(model_of(text), feed)["y"] for text in (before, after))
    assert relative_error(first, second) > 1e-5
    moved = rounding_of(graph_of(before), [feed], [{"y": first}], 0).moved["y"]
    assert relative_error(first, second) <= 10 * moved
    assert become(before, after, feeds=[feed]).verified


def test_a_sum_that_cancels_to_nothing_tells_nothing_and_hides_no_mistake():
    """Its range is 0: what another order of the sum leaves is told by its operands."""
    head = "g (float[4] a, float[4] b, float[4] c) => (float[4] y)"
    before, after = (f"{head} {{ y = Sum ({order}) }}" for order in ("a, b, c", "a, c, b"))
    ones = np.ones(4, np.float32)
    feeds = [{"a": ones, "b": np.float32(1e-8) * ones, "c": -ones}]
    assert not run_ort(model_of(before), feeds[0])["y"].any()
    assert run_ort(model_of(after), feeds[0])["y"].all()
    result = become(before, after, feeds=feeds)
    assert not result.verified
    assert "'y' is 0 where what it sums up cancels, and 1e-08 in another order" in result.note
    wrong = f"{head} {{ s = Sum (a, c, b) y = Add (s, d) }}"
    with pytest.raises(VerificationError, match="at most 1e-05 is allowed"):
        become(before, wrong, {"d": np.float32(1e-5)}, feeds)


@pytest.mark.parametrize("part", [0.02, 0.3])
def test_no_cap_excuses_what_rounding_does_not_explain(part):
    text = "g (float[4, 16] x) => (float[4, 16] y) {{ m = Mul(x, {}) y = Tanh(m) }}"
    weights = {"a": np.float32(1), "b": np.float32(1 + part)}
    with pytest.raises(VerificationError, match="at most 1e-05 is allowed"):
        become(text.format("a"), text.format("b"), weights, [X])


def test_each_output_has_a_yardstick_of_its_own():
    """Beside an output that amplifies rounding, a small mistake in another is one."""
    before = """g (float[4, 16] x) => (float[4, 16] y, float[4, 16] z) {
        a = Add(x, c) y = Sub(a, c) z = Mul(x, one) }"""
    after = before.replace("Mul(x, one)", "Mul(x, more)")
    weights = {"c": np.float32(1e6), "one": np.float32(1), "more": np.float32(1.001)}
    rounding = rounding_of(
        graph_of(before, weights), [X], [run_ort(model_of(before, weights), X)], 0
    )
    assert rounding.moved["y"] > 1e-2
    assert rounding.moved["z"] < 1e-6
    with pytest.raises(VerificationError, match=r"output 'z' differs by 0\.001"):
        become(before, after, weights, [X])


def test_the_yardstick_asks_no_optimizer(monkeypatch):
    from planish.passes.trust import rounding

    asked = []

    class Recorded(rounding.Reference):
        def __init__(self, *args, **kwargs):
            asked.append(kwargs)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(rounding, "Reference", Recorded)
    text = "g (float[4, 16] x) => (float[4, 16] y) { y = Sigmoid(x) }"
    assert 0 < measure_rounding(graph_of(text), [X], [run_ort(model_of(text), X)], 0) < 1e-6
    assert asked
    assert not any(kwargs.get("optimized") for kwargs in asked)


NEAR = {
    "outside": "{ t = Tanh(x) y = Add(t, one) }",
    "in a branch": """{ y = If(c) <then_branch = a () => (float[] p)
        { t = Tanh(x) p = Add(t, one) }, else_branch = b () => (float[] q) { q = Neg(x) }> }""",
    "in a function": """{ y = f.Near(x, one) }
        <domain: "f", opset_import: ["" : 17]> Near (a, b) => (c) { t = Tanh(a) c = Add(t, b) }""",
}


@pytest.mark.parametrize("size", ["4", "K"])
@pytest.mark.parametrize("where", NEAR)
def test_rounding_in_bodies_and_along_open_sizes_is_measured(where, size):
    """1 + tanh(x) of x near -7 cancels: a unit of the tangent is a tenth of the sum."""
    graph = graph_of(
        f"""<ir_version: 9, opset_import: ["" : 17, "f" : 1]>
        g (float[N, {size}] x) => (float[] y) {NEAR[where]}""",
        {"one": np.float32(1)} | ({"c": np.array(True)} if "branch" in where else {}),
    )
    feeds = [{"x": np.linspace(-8, -7, 8, dtype=np.float32).reshape(2, 4)}]
    outputs = [run_ort(planish.to_model(graph), feeds[0])]
    assert rounding_of(graph, feeds, outputs, 0).moved["y"] > 1e-3
    (wide,) = run_in_float64(graph, feeds)
    assert wide["y"] == pytest.approx(1 + np.tanh(feeds[0]["x"].astype(np.float64)), rel=1e-9)


FORMULA = "n = Neg(x) e = Exp(n) a = Add(e, one) s = Reciprocal(a)"
TAILS = {"x": np.linspace(-60, -20, 64).astype(np.float32)}


@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize("behind", ["y = Identity(s)", "y = Mul(s, x)", "m = Mul(s, x) y = Exp(m)"])
def test_a_kernel_that_gives_0_where_the_formula_is_small_makes_no_mistake(behind, verify):
    """The kernel of Sigmoid is right to a unit of 1: on these feeds nothing was verified."""
    before, after = (
        f"g (float[64] x) => (float[64] y) {{ {s} {behind} }}" for s in (FORMULA, "s = Sigmoid(x)")
    )
    result = become(before, after, {"one": np.float32(1)}, [TAILS], verify)
    assert result.verified is ("Exp" in behind)  # exp(1e-9) and exp(0) are the same
    assert result.verified or "is small beside 1, where ONNX Runtime's kernel" in result.note


@pytest.mark.parametrize(
    "behind",
    [
        "y = LpNormalization <axis = 0> (s)",
        "m = Mul(s, large) y = Softmax <axis = 0> (m)",
        "m = Max(s, few) y = Log(m)",
        "z = ReduceSum(s) y = Div(s, z)",
    ],
)
def test_what_makes_much_of_small_values_makes_a_mistake_of_that_kernel(behind):
    """It is undone: the formula had the digits."""
    before, after = (
        f"g (float[64] x) => (float[64] y) {{ {s} {behind} }}" for s in (FORMULA, "s = Sigmoid(x)")
    )
    weights = {"one": np.float32(1), "few": np.float32(1e-12), "large": np.float32(1e9)}
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        become(before, after, weights, [TAILS])


@pytest.mark.parametrize(
    "wrong",
    [
        "s = Neg(x) y = Sigmoid(s)",
        "s = Sigmoid(x) y = Add(s, few)",
        "s = Add(x, fifty) y = Sigmoid(s)",
    ],
)
def test_a_mistake_beside_a_kernel_that_loses_tails_is_one(wrong):
    before = f"g (float[64] x) => (float[64] y) {{ {FORMULA} y = Identity(s) }}"
    after = f"g (float[64] x) => (float[64] y) {{ {wrong} }}"
    weights = {"one": np.float32(1), "few": np.float32(1e-5), "fifty": np.float32(50)}
    with pytest.raises(VerificationError, match="output 'y' differs by"):
        become(before, after, weights, [TAILS])


def test_an_output_that_differs_from_run_to_run_is_no_mistake(monkeypatch):
    """ONNX Runtime passes on memory that nothing was written to."""
    draws = iter(range(100))

    class Unsteady(Reference):
        def __call__(self, feeds):
            return {name: array + next(draws) for name, array in super().__call__(feeds).items()}

    monkeypatch.setattr("planish.passes.trust.judge.Reference", Unsteady)
    text = "g (float[4] x) => (float[4] y) {{ y = {} (x) }}"
    feeds = [{"x": np.arange(4, dtype=np.float32)}]
    result = become(text.format("Relu"), text.format("Neg"), {}, feeds)
    assert not result.verified
    assert "output 'y' of the untouched graph differs from run to run" in result.note
