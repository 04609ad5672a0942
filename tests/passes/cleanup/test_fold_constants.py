"""What does not depend on the inputs is computed, within limits, and nothing else is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.graph.uses import scopes
from planish.passes.cleanup.fold_constants import folder

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

PASS = "fold-constants"
X = np.array([-1, 2, 0, 5], np.float32)
I = {"n": np.array([2, 2], np.int64), "w": np.arange(4, dtype=np.float32)}  # noqa: E741


def _weights(text):
    import re

    words = set(re.findall(r"\w+", text))
    return {k: v for k, v in I.items() if k in words}


def _check(text, left, feeds, weights=None):
    model = model_of(text, _weights(text) if weights is None else weights)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, feeds, 0)
    return result


@pytest.mark.parametrize(
    "attribute",
    ["value_int = 3", "value_ints = [3, 1, 2, 5]", "value_float = -0.5",
     "value_floats = [1.5, -0.5, 2.0, 0.0]", "value = float[4] {1.0, 2.0, 3.0, 4.0}"],
)  # fmt: skip
def test_spellings_of_constant(attribute):
    text = f"""g (float[4] x) => (float[4] y) {{
        c = Constant <{attribute}> () d = Cast <to = 1> (c) y = Add(x, d) }}"""
    result = _check(text, ["Add"], {"x": X})
    assert result.graph.nodes[0].inputs[1].values.dtype == np.float32


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [('value_string = "b"', "b"), ('value_strings = ["b", "c"]', ["b", "c"])],
)
def test_strings(attribute, expected):
    graph = graph_of(
        f"""g (string[2] x) => (bool[2] y) {{
            c = Constant <{attribute}> () y = Equal(x, c) }}"""
    )
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ["Equal"]
    assert result.graph.nodes[0].inputs[1].values.tolist() == expected


ENDS = ["u = Div(least, minus)", "u = Mod(least, minus)", "u = Div(minus, nothing)"]


@pytest.mark.parametrize("body", [*ENDS, "w, u = Split(least)"])
def test_what_ends_the_process_is_not_computed(body):
    """Where a branch is not taken, nobody else does; kernels divide and write without a look."""
    text = f"""g (float[2] x, bool t) => (int64[N] y) {{
        y = If (t) <then_branch = p () => (int64[N] u) {{ {body} }},
                    else_branch = q () => (int64[N] v) {{ v = Cast<to=7>(x) }}> }}"""
    constants = {
        "least": np.full(2, -(2**63)), "minus": np.array([-1]), "nothing": np.array([0])
    }  # fmt: skip
    model = model_of(text, {name: values for name, values in constants.items() if name in text})
    if "Split" in body:
        (branch,) = (a.g for a in model.graph.node[0].attribute if a.name == "then_branch")
        branch.node[0].output[0] = ""
    result = run_pass(planish.load(model), PASS, verify="off")
    assert result.edits == 0
    (left,) = ops(result.graph.nodes[0].attrs["then_branch"])
    assert left in body


def test_nor_where_a_condition_is_looked_for():
    """What decides an If or a Loop is computed before it is folded, by the same kernels."""
    text = """g (float[2] x) => (float[2] y) {
        d = Div(least, minus)
        c = Equal(d, least)
        y = If (c) <then_branch = p () => (float[2] u) { u = Neg(x) },
                    else_branch = q () => (float[2] v) { v = Abs(x) }> }"""
    least, minus = np.array(-(2**31), np.int32), np.array(-1, np.int32)
    model = model_of(text, {"least": least, "minus": minus})
    result = run_pass(planish.load(model), "inline-constant-branches", verify="off")
    assert ops(result.graph) == ["Div", "Equal", "If"]


def test_a_sparse_constant_stays():
    sparse = onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(np.ones(1, np.float32), "v"),
        onnx.numpy_helper.from_array(np.array([2]), "i"),
        [4],
    )
    model = model_of("g (float[4] x) => (float[4] y) { c = Identity(x) y = Add(x, c) }")
    constant = onnx.helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    model.graph.node[0].CopyFrom(constant)
    result = run_pass(planish.load(model), PASS)
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_rows_of_text_are_not_gathered():
    """ONNX Runtime 1.32 copies the first element of each row, and leaves the others empty."""
    text = """g (bool x) => (string[2] y) {
        rows = Constant <value_strings = ["a", "b", "c", "d"]> ()
        table = Reshape(rows, square)
        y = Gather <axis = 0> (table, second)
    }"""
    constants = {"square": np.array([2, 2]), "second": np.array(1)}
    result = run_pass(planish.load(model_of(text, constants)), "fold-constants")
    assert ops(result.graph) == ["Gather"]
    assert reasons(result) == {"ONNX Runtime gathers one element of each row of text"}


@pytest.mark.parametrize("kind", ["value_ints", "value_floats", "value_strings"])
def test_empty_lists(kind):
    dtype = {"value_ints": "int64", "value_floats": "float", "value_strings": "string"}[kind]
    model = model_of(
        f"g ({dtype}[2] x) => ({dtype}[2] y) {{ c = Constant() y = Concat <axis = 0> (x, c) }}"
    )
    types = {"value_ints": "INTS", "value_floats": "FLOATS", "value_strings": "STRINGS"}
    attribute = onnx.helper.make_attribute(
        kind, [], attr_type=getattr(onnx.AttributeProto, types[kind])
    )
    model.graph.node[0].attribute.append(attribute)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Concat"]
    assert result.graph.nodes[0].inputs[1].values.shape == (0,)


@pytest.mark.parametrize(
    ("slice_", "values"),
    [("", None), ("<start = 1>", [3, 5]), ("<start = 1, end = 2>", [3]), ("<start = -1>", [5])],
)
def test_shape_of_a_dynamic_batch(slice_, values):
    text = f"""g (float[N, 3, 5] x) => (int64[M] y) {{
        s = Shape {slice_} (x) y = Add(s, s) }}"""
    left = ["Constant"] if values else ["Shape", "Add"]
    result = _check(text, left, {"x": np.zeros((7, 3, 5), np.float32)})
    if values:
        assert result.graph.nodes[0].attrs["value"].values.tolist() == [2 * v for v in values]


@pytest.mark.parametrize(("index", "folds"), [("[1]", True), ("[-1]", True), ("[0]", False)])
def test_gather_of_static_sizes_under_a_dynamic_batch(index, folds):
    text = "g (float[N, 3, 5] x) => (int64[1] y) { s = Shape(x) a = Gather(s, i) y = Neg(a) }"
    weights = {"i": np.array(eval(index), np.int64)}
    model = model_of(text, weights)
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ("Gather" not in ops(result.graph)) is folds
    assert_same_function(model, result.graph, {"x": np.zeros((7, 3, 5), np.float32)}, 0)


def test_size():
    _check("g (float[3, 5] x) => (int64 y) { s = Size(x) y = Neg(s) }", ["Constant"],
           {"x": np.zeros((3, 5), np.float32)})  # fmt: skip


def test_exporters_zero_bias():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        s = Shape(v) f = Slice(s, zero, one) k = Expand(f, one)
        c = CastLike(z, x) b = Expand(c, k) y = Gemm(x, v, b) }"""
    weights = {"v": np.eye(4, dtype=np.float32), "zero": np.array([0]), "one": np.array([1]),
               "z": np.int64(0)}  # fmt: skip
    result = _check(text, ["Gemm"], {"x": X.reshape(1, 4)}, weights)
    assert result.graph.nodes[0].inputs[2].values.tolist() == [0, 0, 0, 0]


def test_cast_like_unknown_type_stays():
    graph = graph_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[4] x) => (float[4] y) {
            k = my.domain.Thing(x) c = CastLike(w, k) y = my.domain.Other(c) }""",
        {"w": I["w"]},
    )
    assert run_pass(graph, PASS).edits == 0


def test_shapes_that_fold_make_others_static_in_the_same_run():
    text = """g (float[N, 4] x) => (int64[2] y) {
        a = Cast <to = 1> (n) h = Floor(a) s = Cast <to = 7> (h) z = Reshape(x, s)
        k = Shape(z) y = Add(k, k) }"""
    model = model_of(text, _weights(text))
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == ["Constant"]
    assert result.graph.nodes[0].attrs["value"].values.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        ("c = ConstantOfShape(s) y = ReduceSum <keepdims = 0> (c)", [60_000, 60_000]),
        ("c = Expand(one, s) y = ReduceSum <keepdims = 0> (c)", [60_000, 60_000]),
        ("c = Tile(one, s) y = ReduceSum <keepdims = 0> (c)", [60_000, 60_000]),
        ("e = Gather(s, i) c = Range(i, e, k) d = Cast <to = 1> (c) "
         "y = ReduceSum <keepdims = 0> (d)", [1 << 33]),
        ("c = Add(tall, wide) y = ReduceSum <keepdims = 0> (c)", None),
        ("e = Gather(s, i) c = OneHot(many, e, v) y = ReduceSum <keepdims = 0> (c)", [1 << 33]),
    ],
    ids=["ConstantOfShape", "Expand", "Tile", "Range", "Add", "OneHot"],
)  # fmt: skip
def test_gigabytes_are_never_evaluated(body, sizes, monkeypatch):
    weights = {
        "s": np.array(sizes or [1], np.int64),
        "one": np.ones((1, 1), np.float32),
        "i": np.int64(0),
        "k": np.int64(1),
        "tall": np.ones((60_000, 1), np.float32),
        "wide": np.ones((1, 60_000), np.float32),
        "many": np.zeros(4, np.int64),
        "v": np.zeros(2, np.float32),
    }
    import re

    words = set(re.findall(r"\w+", body))
    big = {"ConstantOfShape", "Expand", "Tile", "Range", "Add", "OneHot"}
    original = folder.evaluate

    def guarded(scope, nodes, wanted):
        assert not any(node.op in big for node in nodes)
        return original(scope, nodes, wanted)

    monkeypatch.setattr(folder, "evaluate", guarded)
    graph = graph_of(
        f"g (float x) => (float y) {{ {body} }}", {k: v for k, v in weights.items() if k in words}
    )
    result = run_pass(graph, PASS, verify="off")
    assert big & set(ops(result.graph))
    assert any("outgrows its inputs" in reason for reason in reasons(result))


@pytest.mark.parametrize(("columns", "told"), [(300, True), (100, False)])
def test_a_file_that_grows_by_much_is_told_of(columns, told):
    graph = graph_of(
        f"g (float[64, {columns}] x) => (float[64, {columns}] y) "
        f"< float[64, 1] c = {{{', '.join(['1', '2'] * 32)}}}, int64[2] s = {{64, {columns}}} > "
        "{ e = Expand(c, s) y = Add(x, e) }"
    )
    remarks = run_pass(graph, PASS).records[0].remarks
    assert any("larger by" in line and "size-limit=0" in line for line in remarks) == told


def test_size_limit():
    text = "g (float[64] x) => (float[64] y) { c = ConstantOfShape(n) y = Add(x, c) }"
    for limit, left in ((256, ["Add"]), (255, ["ConstantOfShape", "Add"])):
        graph = graph_of(text, {"n": np.array([64])})
        assert ops(run_pass(graph, f"{PASS}{{size-limit={limit}}}").graph) == left


def test_doubling_stops_at_the_limit_for_good():
    body = " ".join(f"t{i + 1} = Concat <axis = 0> (t{i}, t{i})" for i in range(14))
    graph = graph_of(
        f"""g (float[4] x) => (float[4] y) {{
            {body} m = ReduceMean <keepdims = 0> (t14) y = Add(x, m)
        }}""",
        {"t0": np.ones(4, np.float32)},
    )
    result = run_pass(graph, f"{PASS}{{size-limit=1024}}")
    sizes = [t.values.nbytes for n in result.graph.nodes for t in n.inputs if hasattr(t, "values")]
    assert max(sizes) == 1024


def test_repeated_folds_of_weights_are_not_growth():
    weights = {f"w{i}": np.full((64, 64), i, np.float32) for i in range(20)}
    body = " ".join(f"t{i} = Transpose(w{i}) u{i} = Neg(t{i})" for i in range(20))
    total = ", ".join(f"u{i}" for i in range(20))
    graph = graph_of(
        f"g (float[64, 64] x) => (float[64, 64] y) {{ {body} y = Sum(x, {total}) }}", weights
    )
    assert ops(run_pass(graph, f"{PASS}{{size-limit=0}}").graph) == ["Sum"]


KEPT = {
    "random": "r = RandomNormal <shape = [4]> () y = Add(x, r)",
    "quantized": "q = QuantizeLinear(w, scale) d = DequantizeLinear(q, scale) y = Add(x, d)",
    "depends on the input": "a = Abs(x) y = Add(a, w)",
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_leaves_alone(body):
    text = f"g (float[4] x) => (float[4] y) {{ {body} }}"
    weights = _weights(body) | ({"scale": np.float32(0.5)} if "scale" in body else {})
    assert run_pass(graph_of(text, weights), PASS).edits == 0


@pytest.mark.parametrize("op", ["Thing", "Shape", "Abs"])
def test_custom_domains_stay(op):
    graph = graph_of(
        f"""<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[4] x) => (int64[1] y) {{ c = my.domain.{op}(w) y = Gather(c, i) }}""",
        {"w": I["w"], "i": np.array([0])},
    )
    assert run_pass(graph, PASS).edits == 0


def test_overridable_initializers_are_not_folded():
    model = model_of("g (float[4] x, float[4] w) => (float[4] y) { n = Neg(w) y = Add(x, n) }",
                     {"w": I["w"]})  # fmt: skip
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert_same_function(model, result.graph, {"x": X, "w": X}, 0)


def test_an_output_that_is_constant_keeps_its_name():
    text = "g (float[4] x) => (float[4] y, float[4] z) { y = Neg(w) z = Add(x, y) }"
    result = _check(text, ["Constant", "Add"], {"x": X})
    assert [t.name for t in result.graph.outputs] == ["y", "z"]


def test_several_outputs():
    text = """g (float[2] x) => (float[2] y) {
        a, b = Split <num_outputs = 2> (w) c = Add(a, b) y = Add(x, c) }"""
    _check(text, ["Add"], {"x": X[:2]})
    shown = """g (float[2] x) => (float[2] a, float[2] y) {
        a, b = Split <num_outputs = 2> (w) c = Add(a, b) y = Add(x, c) }"""
    _check(shown, ["Split", "Add"], {"x": X[:2]})


def test_shared_constants_stay_for_their_other_readers():
    text = "g (float[4] x) => (float[4] y) { r = Neg(w) a = Add(x, r) y = Mul(a, w) }"
    result = _check(text, ["Add", "Mul"], {"x": X})
    np.testing.assert_array_equal(result.graph.nodes[1].inputs[1].values, I["w"])


def test_subgraphs_and_captures():
    text = """g (float[4] x, bool t) => (float[4] y) {
        r = Neg(w)
        y = If (t) <then_branch = p () => (float[4] u) { k = Abs(r) u = Add(x, k) },
                    else_branch = q () => (float[4] v) { v = Exp(r) }> }"""
    for t in (True, False):
        result = _check(text, ["If"], {"x": X, "t": np.array(t)})
    branches = result.graph.nodes[0].attrs
    assert ops(branches["then_branch"]) == ["Add"]
    assert ops(branches["else_branch"]) == ["Constant"]


def test_what_decides_an_if_alone_stays():
    text = """g (float[4] x) => (float[4] y) {
        s = Size(x) t = Greater(s, two)
        y = If (t) <then_branch = p () => (float[4] u) { u = Abs(x) },
                    else_branch = q () => (float[4] v) { v = Neg(x) }> }"""
    result = _check(text, ["Size", "Greater", "If"], {"x": X}, {"two": np.int64(2)})
    assert any("decides an If alone" in reason for reason in reasons(result))


def test_sparse_constants_stay_sparse():
    model = model_of("g (float[4] x) => (float[4] y) { n = Neg(w) y = Add(x, n) }")
    values = onnx.numpy_helper.from_array(np.array([3], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([1], np.int64), "w_indices")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))
    result = run_pass(planish.load(model), PASS, verify="off")
    assert ops(result.graph) == ["Neg", "Add"]


def test_no_kernel_is_a_reason():
    """ONNX Runtime has no bfloat16 Neg on the CPU; the Cast before it is folded all the same."""
    graph = graph_of(
        "g (bfloat16[4] x) => (bfloat16[4] y) { c = Cast <to = 16> (w) n = Sin(c) y = Add(x, n) }",
        {"w": I["w"]},
    )
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ["Sin", "Add"]
    assert any("the reference runtime cannot compute it" in r for r in reasons(result))
    folded = result.graph.nodes[0].inputs[0].values
    assert folded.dtype.name == "bfloat16"
    np.testing.assert_array_equal(folded.astype(np.float32), I["w"])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float64, np.float16])
def test_types_and_special_values(dtype):
    values = np.array([0, 1, 100, 3]).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values = np.array([-0.0, np.nan, -np.inf, 1e-7], dtype)
    model = model_of("g (float[4] x) => (float[4] y) { z = Abs(x) y = Neg(z) }")
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model.graph.node.add(op_type="Transpose", input=["k"], output=["m"])
    model.graph.node.add(op_type="Concat", input=["m", "k"], output=["o"]).attribute.append(
        onnx.helper.make_attribute("axis", 0)
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "k"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("o", kind, [8]))
    result = run_pass(planish.load(model), PASS)
    found = next(n for n in result.graph.nodes if n.op == "Constant").attrs["value"].values
    assert found.dtype == dtype
    assert found.tobytes() == np.concatenate([values, values]).tobytes()  # bits, so signed zero too


FILLED = "c{0} = ConstantOfShape <value = float[1] {{{0}}}> (sizes) h{1} = Mul (h{0}, c{0})"
SCALED = "c{0} = Mul (w, k{0}) h{1} = Mul (h{0}, c{0})"
BRANCH = """h{1} = If (t) <
    then_branch = p{0} () => (float[256, 256] u{0}) {{
        c{0} = ConstantOfShape <value = float[1] {{{0}}}> (sizes) u{0} = Mul (h{0}, c{0}) }},
    else_branch = q{0} () => (float[256, 256] v{0}) {{ v{0} = Neg (h{0}) }}>"""


def many(step, count=12):
    """Return a model whose constants are `count` times 256 KiB once everything is folded."""
    steps = " ".join(step.format(at, at + 1) for at in range(count))
    text = f"""g (float[256, 256] h0, bool t) => (float[256, 256] y) {{
        {steps}
        tt = Transpose (v) z = Mul (h{count}, tt) two = Add (one, one) y = Mul (z, two) }}"""
    weights = {f"k{at}": np.float32(at) for at in range(count) if "k{0}" in step}
    weights |= {"w": np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)}
    weights |= {"v": weights["w"] + 1, "one": np.float32(1), "sizes": np.array([256, 256])}
    return model_of(text, weights)


@pytest.mark.parametrize("step", [FILLED, SCALED, BRANCH], ids=["filled", "scaled", "branches"])
def test_the_whole_model_grows_by_no_more_than_is_allowed(step):
    model = many(step)
    graph = planish.load(model)
    result = run_pass(graph, PASS)
    after = planish.to_model(result.graph)
    assert after.ByteSize() <= model.ByteSize() + (1 << 20)
    found = {node.op for scope in scopes(result.graph) for node in scope.nodes}
    assert not {"Transpose", "Add"} & found  # what takes no more stays folded
    assert run_pass(result.graph, PASS).edits == 0
    allowed = run_pass(graph, f"{PASS}{{growth=20}}").graph
    found = [node.op for scope in scopes(allowed) for node in scope.nodes]
    assert found.count("Mul") == 14
    assert "ConstantOfShape" not in found
    x = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
    for t in (True, False):
        feeds = {"h0": x, "t": np.array(t)}
        assert_same_function(model, result.graph, feeds, 1e-6)
        assert_same_function(model, allowed, feeds, 1e-6)


def test_what_is_as_large_as_the_weights_may_be_folded():
    """Four times 256 KiB are the whole of what a small model may grow by."""
    few = many(FILLED, 4)
    assert "ConstantOfShape" not in ops(run_pass(planish.load(few), PASS).graph)
    more = run_pass(planish.load(many(FILLED, 5)), PASS)
    assert ops(more.graph).count("ConstantOfShape") == 5
    assert "are allowed" in more.records[0].declined[0].reason


ARITHMETIC = {
    "a slice of static sizes": "s = Shape(x) y = Slice(s, one, four, zero)",
    "a slice from the end": "s = Shape(x) y = Slice(s, m1, far, zero)",
    "one size as a float": "s = Shape(x) c = Slice(s, m1, far, zero) y = Cast <to = 1> (c)",
    "a comparison": "s = Shape(x) t = Concat <axis = 0> (s, m1) e = Equal(t, m1) y = Not(e)",
    "a quotient": "p = Size(x) n = Shape <end = 1> (x) y = Div(p, n)",
    "what cancels": "s = Shape(x) a = Add(s, one) b = Sub(a, s) y = Mul(b, four)",
    "a rest": "s = Shape(x) a = Mul(s, four) y = Mod(a, four)",
}  # fmt: skip


@pytest.mark.parametrize("body", ARITHMETIC.values(), ids=ARITHMETIC)
def test_arithmetic_whose_result_does_not_depend_on_the_batch(body):
    kinds = {"y = Cast": "float", "y = Not": "bool"}
    kind = next((kind for text, kind in kinds.items() if text in body), "int64")
    values = {"zero": 0, "one": 1, "four": 4, "m1": -1, "far": 2**63 - 1}
    source = model_of(
        f"g (float[N, 3, 4, 5] x) => ({kind}[] y) {{ {body} }}",
        {name: np.array([value]) for name, value in values.items() if name in body},
    )
    result = run_pass(planish.load(source), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == ["Constant"]
    for batch in (1, 3):
        x = np.zeros((batch, 3, 4, 5), np.float32)
        assert_same_function(source, result.graph, {"x": x}, 0)


def test_recognized_functions_of_constants_are_folded():
    model = model_of(
        """g (float[N] x) => (float[3] y, float[N] z) {
            b = If(t) <then_branch = g () => (float[3] c1) { c1 = Identity(c) },
                       else_branch = h () => (float[3] c2) { c2 = Neg(c) }>
            s = Softplus(b) h = Tanh(s) y = Mul(b, h) z = Neg(x) }""",
        {"t": np.array(True), "c": np.array([-1.0, 0.5, 3.0], np.float32)},
    )
    graph = run_pass(planish.load(model), "exact").graph
    assert ops(graph) == ["Constant", "Neg"]
    assert_same_function(model, graph, {"x": np.ones(2, np.float32)}, 1e-6)


def test_what_an_identity_passes_on_is_not_copied():
    """PyTorch exports equal weights as one, with an Identity for each of the others."""
    text = """g (float[1, 4] x) => (float[1, 4] y) {
        a = Identity(w) b = Identity(a) c = Neg(a) s = Add(x, b) y = Mul(s, c) }"""
    result = _check(text, ["Add", "Mul"], {"x": X[None]})
    assert np.array_equal(result.graph.nodes[1].inputs[1].values, -I["w"])
    source = planish.load(model_of(text, _weights(text)))
    before = next(t for node in source.nodes for t in node.inputs if t.name == "w")
    after = run_pass(source, PASS).graph
    assert np.shares_memory(after.nodes[0].inputs[1].values, before.values)
