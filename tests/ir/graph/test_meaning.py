"""Functions compared by what they compute."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.graph.clone import clone_function
from planish.ir.graph.functions import ensure_function
from planish.ir.graph.meaning import same_meaning
from planish.ir.ops.fused.own import own_function

HEAD = """<ir_version: 10, opset_import: ["" : {opset}, "planish" : 1]>
g (float[2] x) => (float[2] y) {{ y = planish.F (x) }}
<domain: "planish", opset_import: ["" : {opset}]>
"""
BODY = "F (a) => (c) { k = Constant <value = float {2}> () b = Mul (a, k) c = Relu (b) }"


def function(body=BODY, opset=17):
    model = onnx.parser.parse_model(HEAD.format(opset=opset) + body)
    (found,) = planish.load(model).functions
    return found


TWO = "k = Constant <value = float {2}> () b = Mul (a, k)"
SAME = {
    "other names": "F (x) => (y) { h = Constant <value = float {2}> () s = Mul (x, h) y = Relu(s)}",
    "a node that nothing reads": f"F (a) => (c) {{ {TWO} z = Neg (a) c = Relu (b) }}",
}
OTHER = {
    "another operator": BODY.replace("Relu", "Neg"),
    "another constant": BODY.replace("{2}", "{3}"),
    "a constant of another shape": BODY.replace("float {2}", "float[1] {2}"),
    "operands exchanged": BODY.replace("Mul (a, k)", "Mul (k, a)"),
    "one more input": BODY.replace("(a) =>", "(a, z) =>"),
}


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_the_same_under_other_names(body):
    assert same_meaning(function(), function(body))


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER)
def test_something_else(body):
    assert not same_meaning(function(), function(body))


def test_defaults_may_be_spelled_out():
    plain, spelled = (
        function(f"F (a) => (c) {{ c = LeakyRelu{attrs} (a) }}")
        for attrs in ("", " <alpha = 0.01>")
    )
    assert same_meaning(plain, spelled)
    assert not same_meaning(plain, function("F (a) => (c) { c = LeakyRelu <alpha = 0.2> (a) }"))


def test_an_operator_of_another_version_is_another():
    body = "F (a) => (c) { c = ReduceSum (a) }"
    assert not same_meaning(function(body, 11), function(body, 13))
    assert same_meaning(function(body, 13), function(body, 17))


def test_bodies_of_subgraphs():
    def choose(op):
        return function(
            "F (a) => (c) { t = Constant <value = bool {1}> () c = If (t) <"
            f"then_branch = p () => (float[2] u) {{ u = {op} (a) }},"
            "else_branch = q () => (float[2] w) { w = Neg (a) }> }"
        )

    assert same_meaning(choose("Relu"), choose("Relu"))
    assert not same_meaning(choose("Relu"), choose("Neg"))


@pytest.mark.parametrize("opset", [9, 13, 17, 20])
@pytest.mark.parametrize(
    "name", ["Silu", "Mish", "Gelu", "GeluTanh", "LayerNormalization", "ConvAddSilu", "GemmRelu"]
)
def test_a_saved_function_is_the_one_it_was(name, opset):
    """Constants of a body come back as Constant nodes."""
    own = own_function(name, opset)
    graph = planish.load(onnx.parser.parse_model(HEAD.format(opset=opset) + BODY))
    graph.functions = [own]
    (loaded,) = planish.load(planish.to_model(graph)).functions
    assert same_meaning(loaded, own)


def test_another_body_under_the_name_gets_a_fresh_one():
    graph = planish.load(onnx.parser.parse_model(HEAD.format(opset=17) + BODY))
    first = function(BODY.replace("Relu", "Neg"))
    assert ensure_function(graph, first) == "F_1"
    assert ensure_function(graph, first) == "F_1"
    assert ensure_function(graph, function(BODY.replace("Relu", "Abs"))) == "F_2"
    assert ensure_function(graph, function()) == "F"
    assert [f.name for f in graph.functions] == ["F", "F_1", "F_2"]


def _exchange(made):
    node = made.nodes[-1]
    node.inputs[0], node.inputs[1] = node.inputs[1], node.inputs[0]


def _other_output(made):
    made.outputs[0] = made.nodes[0].outputs[0]


def _other_constant(made):
    held = made.nodes[1].inputs[1]
    made.nodes[1].inputs[1] = gs.Constant(held.name, np.array(-2, np.float32))


def _other_attribute(made):
    made.nodes[0].attrs["alpha"] = -0.0


def _other_operator(made):
    made.nodes[1].op = "Div"


def _other_domain(made):
    made.nodes[0].domain = "com.example"


def _no_reference(made):
    made.nodes[0].attrs["alpha"] = gs.Node.AttributeRef("beta", float)


def _read_twice(made):
    made.nodes[-1].inputs[1] = made.nodes[-1].inputs[0]


def _absent(made):
    made.nodes[-1].inputs[1] = gs.Variable.empty()


CHANGES = (
    *(_exchange, _other_output, _other_constant, _other_attribute, _other_operator),
    *(_other_domain, _no_reference, _read_twice, _absent),
)


def template():
    x, e, m, y = (gs.Variable(name) for name in "xemy")
    k = gs.Constant("k", np.array(2, np.float32))
    return gs.Function(
        "F",
        "planish",
        nodes=[
            gs.Node("Elu", attrs={"alpha": 0.0}, inputs=[x], outputs=[e]),
            gs.Node("Mul", inputs=[x, k], outputs=[m]),
            gs.Node("Sub", inputs=[e, m], outputs=[y]),
        ],
        inputs=[x],
        outputs=[y],
        opset=17,
    )


def test_a_copy_means_the_same():
    whole = template()
    assert same_meaning(whole, clone_function(whole))


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_that_was_changed_does_not(change):
    whole = template()
    made = clone_function(whole)
    change(made)
    assert not same_meaning(whole, made)
    assert not same_meaning(made, whole)
