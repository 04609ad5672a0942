"""Equal constants become one, by bytes, in all scopes; what only looks equal stays apart."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.graph.uses import scopes
from planish.passes.cleanup import deduplicate_constants

from tests.helpers import assert_same_function, model_of, ops, run_pass

PASS = "deduplicate-constants"
X = np.array([-1, 2, 0.5, 3], np.float32)
SUM = "g (float[4] x) => (float[4] y) { a = Mul(x, v) b = Add(a, w) y = Sub(b, x) }"


def _constants(graph):
    found = {}
    for scope in scopes(graph):
        for node in scope.nodes:
            found |= {id(t): t for t in node.inputs if hasattr(t, "values")}
    return list(found.values())


def _merged(v, w, edits=1):
    model = model_of(SUM, {"v": v, "w": w})
    result = run_pass(planish.load(model), PASS)
    assert result.edits == edits
    assert len(_constants(result.graph)) == 2 - edits
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_equal_constants_become_one():
    _merged(X, X.copy())


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(X + np.float32(1e-7), id="other value"),
        pytest.param(X.reshape(1, 4)[0, :1], id="other shape"),
        pytest.param(np.where(X == 2, np.float32(np.nan), X), id="NaN"),
    ],
)
def test_different_constants_stay(other):
    _merged(X, other, 0)


def test_the_sign_of_zero_makes_a_difference():
    text = "g (float[1] x) => (float[1] y, float[1] z) { y = Div(x, v) z = Div(x, w) }"
    model = model_of(text, {"v": np.zeros(1, np.float32), "w": -np.zeros(1, np.float32)})
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert_same_function(model, result.graph, {"x": X[:1]})


def test_equal_not_a_numbers_are_equal():
    _merged(X * np.float32(np.nan), X * np.float32(np.nan))


def test_types_tell_constants_apart():
    text = "g (int64[2] x) => (int64[2] y) { a = Add(x, v) c = Cast <to = 7> (w) y = Mul(a, c) }"
    model = model_of(text, {"v": np.zeros(2, np.int64), "w": np.zeros(2, np.float64)})
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize("name", [PASS, "eliminate-common-subexpressions"])
def test_integers_that_numpy_has_two_types_of_are_equal(name):
    model = model_of(
        """g (float[4] x) => (float[4] y) {
            a = Gather <axis = 0> (x, v) b = Gather <axis = 0> (x, w) y = Sub(a, b) }""",
        {"v": np.arange(4), "w": np.arange(4)},
    )
    graph = planish.load(model)
    second = graph.nodes[1].inputs[1]
    second.values = second.values.astype(np.longlong).view(np.dtype("q"))
    assert second.values.dtype.type is not graph.nodes[0].inputs[1].values.dtype.type
    assert run_pass(graph, name).edits == 1


@pytest.mark.parametrize("place", [0, 5000, 49_999])
def test_large_constants_are_read_to_the_end(place):
    text = "g (float[1] x) => (float[50000] y) { a = Mul(x, v) y = Add(a, w) }"
    values = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    other = values.copy()
    for edits in (1, 0):
        model = model_of(text, {"v": values, "w": other})
        result = run_pass(planish.load(model), PASS)
        assert result.edits == edits
        assert_same_function(model, result.graph, {"x": X[:1]})
        other = values.copy()
        other[place] += 1


def test_only_candidates_are_read_in_full(monkeypatch):
    read = []
    monkeypatch.setattr(deduplicate_constants.hashlib, "sha256", lambda data: read.append(data))
    weights = {f"w{i}": np.full(5000, i, np.float32) for i in range(8)}
    body = " ".join(f"t{i + 1} = Add(t{i}, w{i})" for i in range(8))
    text = f"g (float[5000] x) => (float[5000] y) {{ t0 = Abs(x) {body} y = Neg(t8) }}"
    assert run_pass(planish.load(model_of(text, weights)), PASS, verify="off").edits == 0
    assert not read


def test_mapped_files_are_merged(tmp_path):
    import onnx

    model = model_of(SUM.replace("4]", "4096]"), {n: np.ones(4096, np.float32) for n in "vw"})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    result = run_pass(planish.load(tmp_path / "m.onnx"), PASS)
    assert len(_constants(result.graph)) == 1


def test_constant_nodes():
    text = """g (float[4] x) => (float[4] y, float[4] z) {
        c = Constant <value = float[4] {-1.0, 2.0, 0.5, 3.0}> ()
        d = Constant <value_floats = [-1.0, 2.0, 0.5, 3.0]> ()
        z = Constant <value_floats = [-1.0, 2.0, 0.5, 3.0]> ()
        a = Mul(x, c) b = Add(a, d) y = Sub(b, v) }"""
    for values in (X, X + 1):
        model = model_of(text, {"v": values})
        result = run_pass(planish.load(model), PASS)
        assert result.edits == 2
        assert len(_constants(result.graph)) == (1 if values is X else 2)
        assert ops(result.graph) == ["Constant", "Mul", "Add", "Sub"]  # the one that is an output
        assert_same_function(model, result.graph, {"x": X})


BRANCHES = """g (float[4] x, bool t) => (float[4] y) {{ {before}
    y = If (t) <then_branch = p () => (float[4] u) <float[4] c = {{-1, 2, 0.5, 3}}> {{ u = Add(k, c) }},
                else_branch = q () => (float[4] v) <float[4] c = {{5, 6, 7, 8}}, float[4] d = {{-1, 2, 0.5, 3}}>
                    {{ e = Mul(k, c) v = Add(e, d) }}> }}"""  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("outer", [True, False])
def test_across_scopes(outer):
    """`c` names another tensor in the other branch, so the one that is kept needs a fresh name."""
    before = "k = Mul(x, w)" if outer else "k = Abs(x)"
    model = model_of(BRANCHES.format(before=before), {"w": X} if outer else {})
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 2
    assert len(_constants(result.graph)) == 2
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": X, "t": np.array(t)})


def test_overridable_constants_stay():
    model = model_of(SUM.replace("float[4] x)", "float[4] x, float[4] w)"), {"v": X, "w": X})
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert_same_function(model, result.graph, {"x": X, "w": X + 1})


def test_strings():
    text = "g (string[2] x) => (bool[2] y, bool[2] z) { y = Equal(x, v) z = Equal(x, w) }"
    for other, edits in (("b", 1), ("c", 0)):
        weights = {"v": np.array(["a", "b"], object), "w": np.array(["a", other], object)}
        result = run_pass(planish.load(model_of(text, weights)), PASS, verify="off")
        assert result.edits == edits


ROW = "{-1.0, 2.0, 0.5, 3.0}"
AS_NODE = f"c# = Constant <value = float[4] {ROW}> ()"
AS_LIST = "c# = Constant <value_floats = [-1.0, 2.0, 0.5, 3.0]> ()"
# Several places, each with the same constant, as a tensor of the graph or as a Constant node.
NESTED = {
    "branches": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x, bool t) => (float[4] y) {{ y = If (t) <
            then_branch = p () => (float[4] u) {first} {{ {given0} u = Min(x, c0) }},
            else_branch = q () => (float[4] v) {second} {{ {given1} v = Max(x, c1) }}> }}""",
    "a branch of a branch": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x, bool t) => (float[4] y) {{ {given0} k = Max(x, c0) y = If (t) <
            then_branch = p () => (float[4] u) {{ u = If (t) <
                then_branch = r () => (float[4] s) {second} {{ {given1} s = Min(k, c1) }},
                else_branch = q () => (float[4] v) {{ v = Neg(k) }}> }},
            else_branch = o () => (float[4] w) {{ w = Abs(k) }}> }}""",
    "a loop": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x, bool t, int64 n) => (float[4] y) {{ {given0} k = Max(x, c0)
            y = Loop (n, , k) <
                body = b (int64 i, bool d, float[4] a) => (bool e, float[4] f) {second}
                    {{ {given1} e = Identity(d) h = Min(a, c1) f = Sin(h) }}> }}""",
    "functions": """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[4] x, bool t) => (float[4] y) {{ a = own.F(x) y = own.G(a) }}
        <domain: "own", opset_import: ["" : 17]> F (x) => (y) {{ {given0} y = Min(x, c0) }}
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        G (x) => (y) {{ {given1} m = Max(x, c1) s = Sin(m) y = own.F(s) }}""",
    "branches of a function": """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[4] x, bool t) => (float[4] y) {{ a = own.F(x, t) y = own.F(a, t) }}
        <domain: "own", opset_import: ["" : 17]> F (x, t) => (y) {{ y = If (t) <
            then_branch = p () => (float[4] u) {{ {given0} u = Min(x, c0) }},
            else_branch = q () => (float[4] v) {{ {given1} v = Max(x, c1) }}> }}""",
}  # fmt: skip


@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("place", NESTED)
@pytest.mark.parametrize("spelled", ["tensors", "nodes", "node and list", "tensor and node"])
def test_nested_places_hold_it_once(spelled, place, portable):
    forms = {"tensors": "tt", "nodes": "nn", "node and list": "nl", "tensor and node": "tn"}[
        spelled
    ]
    if "t" in forms and (place != "branches"):
        pytest.skip(
            "a function has no tensors of its own, and the text of a graph holds them apart"
        )
    given = [
        {"t": "", "n": AS_NODE, "l": AS_LIST}[form].replace("#", str(i))
        for i, form in enumerate(forms)
    ]
    held = [f"<float[4] c{i} = {ROW}>" if form == "t" else "" for i, form in enumerate(forms)]
    text = NESTED[place].format(given0=given[0], given1=given[1], first=held[0], second=held[1])
    model = model_of(text, {})
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="each")
    written = planish.to_model(result.graph, portable=portable)
    assert len(_constants(planish.load(written))) == 1
    again = planish.Pipeline.parse("exact").run(planish.load(written), verify="off")
    assert again.edits == 0
    for t in (True, False):
        feeds = {"x": X, "t": np.array(t)} | ({"n": np.array(3)} if place == "a loop" else {})
        assert_same_function(model, result.graph, feeds, 1e-6)


GELU = "h = Mul(i, k) d = Div(i, r) e = Erf(d) s = Add(u, e) p = Mul(s, h)"
OF_GELU = "float k = {0.5}, float r = {1.4142135}, float u = {1.0}"


@pytest.mark.parametrize("outside", [True, False])
def test_a_constant_in_a_branch_is_not_merged_with_that_of_a_fused_operator_elsewhere(outside):
    """The one of the function is back only until the function is recognized again."""
    body = f"{GELU} n = Identity(g)"
    spelled = (
        f"""{GELU.replace("i,", "x,").replace("p =", "y =")}"""
        if outside
        else f"""
            y = Loop(m, "", x) <body = a (int64 o, bool g, float[] i) => (bool n, float[] p)
                <{OF_GELU}> {{ {body} }}>"""
    )
    model = model_of(
        f"""<ir_version: 9, opset_import: ["" : 13]>
        g (bool c, int64 m, float[2, 3] x) => (float[] y, float[] z)
            <{OF_GELU if outside else "float unread = {2.0}"}> {{ {spelled}
            z = If(c) <then_branch = f () => (float[] v) <float w = {{1.0}}> {{ v = Div(w, x) }},
                       else_branch = b () => (float[] t) {{ t = Neg(x) }}> }}"""
    )
    pipeline = planish.Pipeline.parse("exact")
    graph = pipeline.run(planish.load(model), verify="off").graph
    portable = planish.load(planish.to_model(graph, portable=True))
    assert not pipeline.run(portable, verify="off").edits


def test_a_constant_that_is_an_output_is_that_of_a_function_written_out_too():
    """Else a portable file holds it twice, and a second run merges the two."""
    model = model_of(
        """<ir_version: 9, opset_import: ["" : 13]>
        g (float[2, 3] x) => (float[2, 3] y, float[2, 3] z, float k)
            <float k = {0.5}, float r = {1.4142135}, float u = {1.0}> {
            h = Mul(x, k) d = Div(x, r) e = Erf(d) s = Add(u, e) y = Mul(s, h)
            n = Sin(x) z = Mul(n, k) }"""
    )
    pipeline = planish.Pipeline.parse("exact")
    graph = pipeline.run(planish.load(model), verify="off").graph
    portable = planish.load(planish.to_model(graph, portable=True))
    assert not pipeline.run(portable, verify="off").edits


@pytest.mark.parametrize("first", ["k", "l"])
def test_of_equal_constants_the_one_that_is_an_output_stays(first):
    constants = ", ".join(f"float {name} = {{0.5}}" for name in (first, "kl".replace(first, "")))
    model = model_of(
        f"""<ir_version: 9, opset_import: ["" : 13]>
        g (float[2, 3] x) => (float[2, 3] y, float[2, 3] z, float k) <{constants}> {{
            a = Sin(x) y = Mul(a, l) b = Cos(x) z = Mul(b, k) }}"""
    )
    graph = run_pass(planish.load(model), PASS).graph
    assert [t.name for t in _constants(graph)] == ["k"]
