"""Fused operators written out: names, constants, versions, and the way back."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

import planish
from benchmarks.patterns.subjects import PATTERNS
from planish.ir.graph.parts import is_written_out

from tests.effort import examples
from tests.helpers import assert_same_function, graph_of, model_of, ops, run_ort
from tests.strategies import networks

EXACT = planish.Pipeline.parse("exact")
RNG = np.random.default_rng(5)
GELUS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] x) => (float[N, 3] y)
<
    float r = {1.4142135}, float one = {1}, float half = {0.5},
    float[3, 3] w = {1, 2, 0, 0, 1, 0, 3, 0, 1}
>
{
    a = Div (x, r) b = Erf (a) c = Add (b, one) d = Mul (x, c) e = Mul (d, half)
    f = MatMul (e, w)
    h = Div (f, r) i = Erf (h) j = Add (i, one) k = Mul (f, j) y = Mul (k, half)
}"""


def portable(model):
    result = EXACT.run(planish.load(model), verify="off")
    return planish.to_model(result.graph, portable=True), result.edits


def written(model):
    return model.SerializeToString(deterministic=True)


def size(graph):
    """Count nodes, those of bodies too; Constant nodes are none."""
    inside = (a.g for node in graph.node for a in node.attribute if a.HasField("g"))
    return sum(node.op_type != "Constant" for node in graph.node) + sum(map(size, inside))


def test_a_convolution_and_its_activation_have_their_names_again():
    text = """g (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) {
        [first] c = Conv <pads = [1, 1, 1, 1]> (x, w)
        [gate] s = Sigmoid (c)
        [second] y = Mul (c, s)
    }"""
    model = model_of(text, {"w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)})
    model.graph.node[0].doc_string = "the convolution"
    after, edits = portable(model)
    assert edits
    assert [(n.op_type, n.name, list(n.output)) for n in after.graph.node] == [
        ("Conv", "first", ["c"]),
        ("Sigmoid", "gate", ["s"]),
        ("Mul", "second", ["y"]),
    ]
    assert after.graph.node[0].doc_string == "the convolution"
    assert list(after.graph.node[0].input) == ["x", "w"]  # no bias that was not there


def test_constants_of_bodies_are_initializers_each_once():
    after, _ = portable(model_of(GELUS))
    assert not any(node.op_type == "Constant" for node in after.graph.node)
    small = [t for t in after.graph.initializer if not t.dims]
    assert len(small) == 3
    x = RNG.standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        run_ort(after, {"x": x})["y"], run_ort(model_of(GELUS), {"x": x})["y"], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_the_ir_version_is_that_of_the_model(opset):
    model = model_of(
        f'<ir_version: 4, opset_import: ["" : {opset}]>'
        "g (float[N, 3] x) => (float[N, 3] y) { s = Sigmoid (x) y = Mul (x, s) }"
    )
    after, _ = portable(model)
    assert after.ir_version == 4
    assert not after.functions
    assert [entry.domain for entry in after.opset_import] == [""]
    fused = EXACT.run(planish.load(model), verify="off").graph
    assert planish.to_model(fused).ir_version == 8


def test_a_file_with_functions_is_extended_by_another_of_the_same_name():
    first = EXACT.run(graph_of("g (float[2] x) => (float[2] y) { s = Sigmoid (x) y = Mul (x, s) }"))
    model = planish.to_model(first.graph)
    model.graph.node.extend(
        [
            onnx.helper.make_node("Sigmoid", ["y"], ["t"]),
            onnx.helper.make_node("Mul", ["y", "t"], ["z"]),
        ]
    )
    model.graph.output[0].name = "z"
    result = EXACT.run(planish.load(model))
    assert ops(result.graph) == ["Silu", "Silu"]
    assert len(result.graph.functions) == 1
    assert_same_function(model, result.graph, {"x": np.float32([1, -2])}, 1e-6)


def test_a_function_that_is_not_what_its_name_says_is_not_taken_for_it():
    """The traits of SiLU would let the convolution take it in with the body of SiLU."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 17, "planish" : 1]>
        g (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) {
            c = Conv (x, w)
            y = planish.Silu (c)
        }
        <domain: "planish", opset_import: ["" : 17]>
        Silu (X) => (Y) { Y = Neg (X) }""",
        {"w": RNG.standard_normal((3, 3, 1, 1)).astype(np.float32)},
    )
    result = EXACT.run(planish.load(model), verify="each")
    x = RNG.standard_normal((2, 3, 4, 4)).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x}, 1e-6)


def test_a_loaded_body_is_written_out_without_constant_nodes():
    result = EXACT.run(planish.load(model_of(GELUS)), verify="off")
    loaded = planish.load(planish.to_model(result.graph))
    found, expected = (planish.to_model(g, portable=True).graph for g in (loaded, result.graph))
    assert [n.op_type for n in found.node] == [n.op_type for n in expected.node]
    assert len(found.initializer) == len(expected.initializer)


def test_calls_in_subgraphs_and_in_functions_are_written_out():
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 17, "planish" : 1, "own" : 1]>
        g (float[2] x, bool t) => (float[2] y) {
            a = own.Twice (x)
            y = If (t) <then_branch = p () => (float[2] u) { u = planish.Silu (a) },
                        else_branch = q () => (float[2] v) { v = Neg (a) }>
        }
        <domain: "planish", opset_import: ["" : 17]>
        Silu (X) => (Y) { s = Sigmoid (X) Y = Mul (X, s) }
        <domain: "own", opset_import: ["" : 17, "planish" : 1]>
        Twice (v) => (w) { u = planish.Silu (v) w = Add (u, u) }"""
    )
    after = planish.to_model(planish.load(model), portable=True)
    onnx.checker.check_model(after)
    assert [f.domain for f in after.functions] == ["own"]
    assert {entry.domain for entry in after.opset_import} == {"", "own"}
    for t in (True, False):
        feeds = {"x": np.float32([1, -2]), "t": np.array(t)}
        np.testing.assert_allclose(
            run_ort(after, feeds)["y"], run_ort(model, feeds)["y"], rtol=1e-6
        )


def test_a_body_that_gives_its_input_or_a_constant():
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 17, "planish" : 1]>
        g (float[2] x) => (float[2] y, float[2] z, float[2] s) {
            y, k = planish.Odd (x)
            i, z = planish.Odd (y)
            s = Add (i, k)
        }
        <domain: "planish", opset_import: ["" : 17]>
        Odd (X) => (X, K) { K = Constant <value = float[2] {1, 2}> () }"""
    )
    after = planish.to_model(planish.load(model), portable=True)
    onnx.checker.check_model(after)
    found = run_ort(after, {"x": np.float32([3, 4])})
    np.testing.assert_array_equal(found["y"], [3, 4])
    np.testing.assert_array_equal(found["z"], [1, 2])
    np.testing.assert_array_equal(found["s"], [4, 6])


# A quotient with one Exp, eight times as fast as Softplus and Tanh; and what unrolls.
LONGER = {"Mish by hand", "Loop of three iterations"}


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_what_was_written_out_is_optimized_already_and_has_no_more_nodes_than_before(pattern):
    """Loaded and run again there is no edit, and the same bytes come out."""
    model = pattern.build()
    first, _ = portable(model)
    second, edits = portable(first)
    assert edits == 0
    assert written(second) == written(first)
    assert size(first.graph) <= size(model.graph) or pattern.name in LONGER


@settings(max_examples=examples(40))
@given(case=networks())
def test_any_network_is_optimized_already(case):
    first, _ = portable(case.model)
    second, edits = portable(first)
    assert edits == 0
    assert written(second) == written(first)


def test_marks_say_what_was_written_out():
    after, _ = portable(model_of(GELUS))
    graph = planish.load(after)
    assert sum(map(is_written_out, graph.nodes)) == 10
    assert not is_written_out(next(node for node in graph.nodes if node.op == "MatMul"))
