"""extract and rename: parts of a network, and names, against the whole on ONNX Runtime."""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, run_ort

TEXT = """g (float[N, 4] x, float[N, 4] z) => (float[N, 2] y, float[N, 4] s) {
    a = Relu(x) p, q = Split<axis = 1, num_outputs = 2>(a)
    y = Add(p, q) s = Mul(a, z) }"""
X = np.random.default_rng(0).standard_normal((3, 4)).astype("f")


def run(text, graph=None):
    return planish.Pipeline.parse(text).run(graph or graph_of(TEXT), strict=True).graph


def names(graph):
    return [[t.name for t in tensors] for tensors in (graph.inputs, graph.outputs)]


def values(graph, **feeds):
    return run_ort(planish.to_model(graph), feeds)


def test_outputs_decide_what_stays():
    found = run("extract{outputs=[q,a]}")
    assert names(found) == [["x"], ["q", "a"]]
    assert [node.op for node in found.nodes] == ["Relu", "Split"]
    whole = np.maximum(X, 0)
    got = values(found, x=X)
    np.testing.assert_array_equal(got["a"], whole)
    np.testing.assert_array_equal(got["q"], whole[:, 2:])
    assert list(found.outputs[0].shape) == ["N", 2]


def test_an_input_whose_maker_is_needed_for_another_result():
    found = run("extract{inputs=[x,p],outputs=y}")
    assert names(found) == [["x", "p"], ["y"]]
    p = np.full((3, 2), 5, "f")
    np.testing.assert_array_equal(values(found, x=X, p=p)["y"], p + np.maximum(X, 0)[:, 2:])


def test_a_second_run_makes_no_edit():
    for text in ("extract{inputs=a,outputs=y}", "rename{names=[x:images,y:scores]}"):
        pipeline = planish.Pipeline.parse(text)
        first = pipeline.run(graph_of(TEXT))
        assert first.edits
        assert pipeline.run(first.graph).edits == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extract{outputs=yy}", "did you mean 'y'?"),
        ("extract{inputs=p,outputs=y}", "depend on 'x' beside"),
        ("extract{inputs=z,outputs=y}", "depends on 'z'"),
        ("extract", "name tensors"),
        ("extract{outputs=[y,y]}", "names a tensor twice"),
        ("rename{names=[xx:images]}", "no tensor 'xx' (did you mean 'x'?)"),
        ("rename{names=[x:a]}", "cannot be called 'a'"),
        ("rename{names=[x:b,b:c]}", "gives a name twice"),
        ("rename{names=[x]}", "is no pair"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(planish.PlanishError) as caught:
        run(text)
    assert words in str(caught.value)


def test_renamed_inside_bodies_too():
    graph = graph_of("""g (float[2] x, bool c) => (float[2] y) {
        y = If (c) <
            then_branch = t () => (float[2] a) { a = Relu(x) },
            else_branch = e () => (float[2] b) { b = Neg(x) }
        > }""")
    found = run('rename{names=["x=images","y=scores:0"]}', graph)
    assert names(found) == [["images", "c"], ["scores:0"]]
    got = values(found, images=np.array([-1, 2], "f"), c=np.array(False))
    np.testing.assert_array_equal(got["scores:0"], [1, -2])


def test_passes_behind_them_are_compared_with_feeds_of_the_new_inputs():
    pipeline = planish.Pipeline.parse("rename{names=[x:images]},extract{outputs=y},exact")
    result = pipeline.run(graph_of(TEXT), [{"images": X}], strict=True)
    assert names(result.graph) == [["images"], ["y"]]
    assert result.verified or not result.records[-1].edits
    with pytest.raises(planish.PlanishError, match="feed 'wrong'"):
        pipeline.run(graph_of(TEXT), [{"wrong": X}])


def test_they_stand_outside_what_rolls_back():
    pipeline = planish.Pipeline.parse("rename{names=[x:z]}")
    with pytest.raises(planish.PlanishError, match="cannot be called"):
        pipeline.run(graph_of(TEXT))
