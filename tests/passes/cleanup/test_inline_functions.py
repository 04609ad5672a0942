"""The model's own functions become their bodies; what cannot be inlined stays, with a reason."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import planish
from planish.ir.graph.uses import scopes

from tests.helpers import assert_same_function, model_of, ops, reasons, run_ort, run_pass

PASS = "inline-functions"
X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
HEAD = '<ir_version: 10, opset_import: ["" : {opset}, "own" : 1]>'
BODY = '<domain: "own", opset_import: ["" : {opset}, "own" : 1]> '


def model(body, *functions, opset=20, inner=None, outputs="float[A, B] y"):
    head = f"{HEAD.format(opset=opset)} g (float[N, 3] x, bool t) => ({outputs}) {{ {body} }}"
    bodies = [BODY.format(opset=inner or opset) + function for function in functions]
    return model_of("\n".join([head, *bodies]))


def check(given, left, **feeds):
    result = run_pass(planish.load(given), f"{PASS},eliminate-unused-functions", verify="each")
    found = [node.op for scope in scopes(result.graph) for node in scope.nodes]
    assert sorted(found) == sorted(left)
    for t in (True, False):
        assert_same_function(given, result.graph, {"x": X, "t": np.array(t), **feeds}, 0)
    assert run_pass(result.graph, PASS).edits == 0
    return result


LEAK = "Leak <slope> (v) => (r) { k = Constant <value = float {3}> () u = LeakyRelu <alpha: float = @slope> (v) r = Mul (u, k) }"  # fmt: skip  # noqa: E501


def test_attributes_by_reference_are_those_of_the_call():
    given = model("y = own.Leak <slope = 0.25> (x)", LEAK)
    result = check(given, ["LeakyRelu", "Mul"])
    assert result.graph.nodes[0].attrs["alpha"] == 0.25
    assert not result.graph.functions
    assert [entry.domain for entry in result.graph.import_domains] == [""]


def test_defaults_of_attributes_and_attributes_that_the_call_leaves_out():
    default = "D <alpha: float = 0.5> (v) => (r) { r = LeakyRelu <alpha: float = @alpha> (v) }"
    given = model("a = own.D (x) y = own.D <alpha = 0.25> (a)", default)
    assert [n.attrs["alpha"] for n in check(given, ["LeakyRelu"] * 2).graph.nodes] == [0.5, 0.25]
    absent = "E <alpha> (v) => (r) { r = LeakyRelu <alpha: float = @alpha> (v) }"
    result = check(model("y = own.E (x)", absent), ["LeakyRelu"])
    assert not result.graph.nodes[0].attrs


def test_functions_in_functions():
    inner = "Twice (v) => (r) { r = Add (v, v) }"
    outer = "Four (v) => (r) { u = own.Twice (v) r = own.Twice (u) }"
    check(model("y = own.Four (x)", outer, inner), ["Add", "Add"])


def test_calls_in_branches_and_branches_in_functions():
    branch = """y = If (t) <then_branch = p () => (float[A, B] u) { u = own.Choose (x, t) },
                            else_branch = q () => (float[A, B] v) { v = Neg (x) }>"""
    choose = """Choose (v, t) => (r) {
        k = Constant <value = float {2}> ()
        s = Mul (v, k)
        r = If (t) <then_branch = p () => (float[A, B] u) { n = Abs (s) u = Mul (n, k) },
                    else_branch = q () => (float[A, B] w) { w = Neg (s) }> }"""
    check(model(branch, choose), ["If", "Mul", "If", "Abs", "Mul", "Neg", "Neg"])
    twice = "a = own.Choose (x, t) y = own.Choose (a, t)"
    check(model(twice, choose), ["Mul", "If"] * 2 + ["Abs", "Mul", "Neg"] * 2)


def test_constants_of_one_body_are_shared_by_its_copies():
    large = ", ".join(map(str, range(30)))
    constant = f"k = Constant <value = float[10, 3] {{{large}}}> ()"
    body = f"Shift (v) => (r) {{ {constant} s = ReduceSum (k) r = Add (v, s) }}"
    given = model("a = own.Shift (x) y = own.Shift (a)", body)
    result = run_pass(planish.load(given), PASS)
    first, second = (node.inputs[0] for node in result.graph.nodes if node.op == "ReduceSum")
    assert first is second


@pytest.mark.parametrize(
    ("body", "function", "left"),
    [
        ("y = own.F (x)", "F (v) => (v) { u = Neg (v) }", ["Neg", "Identity"]),
        ("a = own.F (x) y = Neg (a)", "F (v) => (v) { u = Neg (v) }", ["Neg", "Neg"]),
        ("a, y = own.F (x)", "F (v) => (r, r) { r = Neg (v) }", ["Neg", "Identity"]),
        ("a, b = own.F (x) y = Add (a, b)", "F (v) => (r, r) { r = Neg (v) }", ["Neg", "Add"]),
        ("y = own.F (x)", "F (v) => (r, s) { r = Neg (v) s = Abs (v) }", ["Neg", "Abs"]),
        (
            "a = own.F (x) y = Add (x, a)",
            "F (v) => (k) { k = Constant <value = float[3] {1, 2, 3}> () }",
            ["Add"],
        ),
    ],
)  # fmt: skip
def test_what_a_function_may_give(body, function, left):
    """ONNX Runtime takes no function that gives its input, so that ONNX's reference is asked."""
    given = model(body, function)
    pipeline = f"{PASS},eliminate-unused-functions"
    after = run_pass(planish.load(given), pipeline, verify="off").graph
    assert sorted(ops(after)) == sorted(left)
    feeds = {"x": X, "t": np.array(True)}
    (expected,) = ReferenceEvaluator(given).run(["y"], feeds)
    np.testing.assert_array_equal(run_ort(planish.to_model(after), feeds)["y"], expected)


def test_inputs_that_the_call_leaves_out():
    clip = "F (v, low, high) => (r) { r = Clip (v, low, high) }"
    check(model("y = own.F (x)", clip), ["Clip"])


def test_overloads():
    given = model("y = own.F (x)", "F (v) => (r) { r = Neg (v) }", "F (v) => (r) { r = Abs (v) }")
    given.functions[1].overload = given.graph.node[0].overload = "b"
    result = run_pass(planish.load(given), PASS, verify="off")
    assert ops(result.graph) == ["Abs"]


def test_a_recursive_function_stays():
    given = model(
        "a = own.F (x) y = own.H (a)",
        "F (v) => (r) { u = own.G (v) r = Neg (u) }",
        "G (v) => (r) { r = own.F (v) }",
        "H (v) => (r) { r = Neg (v) }",
    )
    result = run_pass(planish.load(given), PASS, verify="off")
    assert ops(result.graph) == ["F", "Neg"]
    assert "its function calls itself" in reasons(result)


def test_a_body_for_another_version_stays_where_an_operator_changed():
    squeeze = "F (v) => (r) { s = ReduceSum (v) r = Add (v, s) }"
    result = run_pass(planish.load(model("y = own.F (x)", squeeze, inner=11)), PASS)
    assert ops(result.graph) == ["F"]
    assert "ReduceSum in it is of another version than the model's" in reasons(result)
    check(model("y = own.F (x)", "F (v) => (r) { r = Add (v, v) }", inner=17), ["Add"])


def test_a_function_that_explains_an_operator_of_the_runtime_stays():
    given = model_of(
        """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        g (float[N, 3] x) => (float[N, 3] y) { y = com.microsoft.FastGelu (x) }
        <domain: "com.microsoft", opset_import: ["" : 20]>
        FastGelu (v) => (r) { r = Gelu <approximate = "tanh"> (v) }"""
    )
    result = run_pass(planish.load(given), PASS, verify="off")
    assert ops(result.graph) == ["FastGelu"]


def test_a_call_that_would_become_too_many_nodes_stays():
    levels = [
        f"F{at} (v) => (r) {{ u = own.F{at + 1} (v) r = own.F{at + 1} (u) }}" for at in range(6)
    ]
    given = model("y = own.F0 (x)", *levels, "F6 (v) => (r) { r = Neg (v) }")
    result = run_pass(planish.load(given), f"{PASS}{{limit=63}}")
    assert ops(result.graph) == ["F0"]
    assert "it would become 64 nodes, over limit=63" in reasons(result)
    check(given, ["Neg"] * 64)


def test_operators_of_a_third_domain_are_imported():
    given = model("y = own.F (x)", "F (v) => (r) { r = com.microsoft.Gelu (v) }")
    given.functions[0].opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    result = check(given, ["Gelu"])
    assert {entry.domain for entry in result.graph.import_domains} == {"", "com.microsoft"}


def test_exact_sees_through_them():
    """A convolution in one function and its activation in another are fused."""
    given = model_of(
        """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
        g (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) { c = own.Layer (x, w) y = own.Swish (c) }
        <domain: "own", opset_import: ["" : 20]>
        Layer (v, w) => (r) { k = Constant <value = float {2}> () u = Conv (v, w) r = Mul (u, k) }
        <domain: "own", opset_import: ["" : 20]>
        Swish (v) => (r) { s = Sigmoid (v) r = Mul (v, s) }""",
        {"w": np.random.default_rng(1).standard_normal((3, 3, 1, 1)).astype(np.float32)},
    )
    result = run_pass(planish.load(given), "exact", verify="each")
    assert ops(result.graph) == ["ConvSilu"]
    assert [f.name for f in result.graph.functions] == ["ConvSilu"]
    x = np.random.default_rng(2).standard_normal((2, 3, 4, 4)).astype(np.float32)
    assert_same_function(given, result.graph, {"x": x}, 1e-6)


def test_fused_operators_stay():
    text = "g (float[2] x) => (float[2] y) { s = Sigmoid (x) y = Mul (x, s) }"
    fused = run_pass(planish.load(model_of(text)), "recognize-activations").graph
    assert run_pass(fused, PASS).edits == 0
