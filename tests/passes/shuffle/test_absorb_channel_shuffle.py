"""Channel shuffles go into the weights around them; what cannot go there is moved once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.shuffle import STEPS

PASS = "absorb-channel-shuffle"
FREE = "moving its channels any other way costs as much"
R = np.random.default_rng(11)


def normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


# x [N, 6, 5, 5]; a shuffle of 3 groups of 2: channel i of the result is channel PICK[i].
PICK = [0, 2, 4, 1, 3, 5]
WEIGHTS = {
    "w": normal(6, 6, 1, 1), "wb": normal(6), "v": normal(4, 6, 3, 3), "vb": normal(4),
    "d": normal(6, 1, 3, 3), "db": normal(6), "g2": normal(6, 3, 1, 1), "g3": normal(6, 2, 1, 1),
    "h": normal(6, 3, 1, 1), "k": normal(3, 3, 1, 1), "u": normal(3, 6, 1, 1),
    "t": normal(6, 4, 3, 3), "s6": normal(6), "m6": normal(6), "v6": np.abs(normal(6)) + 0.1,
    "c": normal(6, 1, 1), "c4": normal(1, 6, 1, 1), "scalar": normal(1),
    "apart": ints(-1, 3, 2, 5, 5), "flat": ints(-1, 3, 2, 25), "back": ints(-1, 6, 5, 5),
    "rest": ints(0, 3, -1, 5, 5), "zeros": ints(0, -1, 5, 5), "pick": ints(*PICK),
    "twos": ints(0, 2, 3, 5, 5), "negative": ints(0, 2, -2, 1, 3, -1), "halves": ints(3, 3),
    "pairs": ints(2, 2, 2), "zero": ints(0), "one": ints(1), "three": ints(3), "six": ints(6),
    "p": ints(0, 0, 1, 1, 0, 0, 1, 1), "i0": np.array(0, np.int64), "tail": ints(3, 2, 5, 5),
    "moved": ints(0, 1, 0, 0, 0, -1, 0, 0),
    "ending": ints(6, 5, 5), "duplicate": ints(0, 0, 1, 2, 3, 4),
    "apart2": ints(2, 3, 2, 5, 5), "back2": ints(2, 6, 5, 5),
}  # fmt: skip
STATIC = {
    "five dimensions": "a = Reshape(c0, apart) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) "
    "s = Reshape(b, back)",
    "merged positions": "a = Reshape(c0, flat) b = Transpose <perm = [0, 2, 1, 3]> (a) "
    "s = Reshape(b, back)",
    "zeros and a rest": "a = Reshape(c0, rest) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) "
    "s = Reshape(b, zeros)",
    "Gather": "s = Gather <axis = 1> (c0, pick)",
    "Gather from the end": "s = Gather <axis = -3> (c0, negative)",
    "Split and Concat": "q, r = Split <axis = 1> (c0, halves) s = Concat <axis = 1> (r, q)",
    "Slice and Concat": "q = Slice(c0, three, six, one) r = Slice(c0, zero, three, one) "
    "s = Concat <axis = 1> (q, r)",
    "shape arithmetic": "z = Shape(c0) n = Gather(z, i0) l = Unsqueeze(n, zero) "
    "e = Concat <axis = 0> (l, tail) a = Reshape(c0, e) "
    "b = Transpose <perm = [0, 2, 1, 3, 4]> (a) y0 = Shape <start = 0, end = 1> (b) "
    "f = Concat <axis = 0> (y0, ending) s = Reshape(b, f)",
}


def _model(body, batch="N", opset=18, result="float[] y"):
    import re

    used = set(re.findall(r"\w+", body))
    return model_of(
        f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
        f"g (float[{batch}, 6, 5, 5] x) => ({result}) {{ {body} }}",
        {name: values for name, values in WEIGHTS.items() if name in used},
    )


def _run(body, batch="N", opset=18, result="float[] y"):
    model = _model(body, batch, opset, result)
    done = run_pass(planish.load(model), PASS)
    for n in (2,) if batch == "2" else (1, 3):
        feeds = {"x": np.random.default_rng(n).standard_normal((n, 6, 5, 5)).astype(np.float32)}
        assert_same_function(model, done.graph, feeds)
    return done


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("spelling", STATIC.values(), ids=STATIC)
def test_goes_into_the_weights_before(spelling, batch):
    result = _run(f"c0 = Conv(x, w, wb) {spelling} y = Flatten(s)", batch)
    assert ops(result.graph) == ["Conv", "Flatten"]
    assert result.edits == 1


def test_all_sizes_may_be_stated():
    """As exporters do for one batch size."""
    body = STATIC["five dimensions"].replace("apart", "apart2").replace("back", "back2")
    result = _run(f"c0 = Conv(x, w, wb) {body} y = Flatten(s)", "2")
    assert ops(result.graph) == ["Conv", "Flatten"]


@pytest.mark.parametrize("spelling", STATIC.values(), ids=STATIC)
def test_goes_into_the_weights_after(spelling):
    result = _run(f"c0 = Relu(x) {spelling} y = Conv(s, v, vb)")
    assert ops(result.graph) == ["Relu", "Conv"]


def test_transposed_convolutions_take_it_too():
    text = (
        "c0 = ConvTranspose(x, w, wb) s = Gather <axis = 1> (c0, pick) "
        "y = ConvTranspose <strides = [2, 2]> (s, w, wb)"
    )
    assert ops(_run(text).graph) == ["ConvTranspose", "ConvTranspose"]
    first = _run("c0 = ConvTranspose(x, w, wb) s = Gather <axis = 1> (c0, pick) y = Flatten(s)")
    assert ops(first.graph) == ["ConvTranspose", "Flatten"]


def test_becomes_the_graph_output():
    result = _run(f"c0 = Conv(x, w, wb) {STATIC['five dimensions']} y = Identity(s)")
    assert ops(result.graph) == ["Conv", "Identity"]
    body = STATIC["five dimensions"].replace("s = ", "y = ")
    result = _run(f"c0 = Conv(x, w, wb) {body}")
    assert ops(result.graph) == ["Conv"]
    assert result.graph.nodes[0].outputs[0] is result.graph.outputs[0]


CARRIED = {
    "depthwise": "q = Conv <group = 6> (s, d, db)",
    "depthwise with stride": "q = Conv <group = 6, strides = [2, 2]> (s, d)",
    "transposed depthwise": "q = ConvTranspose <group = 6> (s, d, db)",
    "normalization": "q = BatchNormalization(s, s6, db, m6, v6)",
    "instance normalization": "q = InstanceNormalization(s, s6, db)",
    "affine": "q0 = Mul(s, c) q1 = Add(c4, q0) q2 = Sub(c, q1) q = Div(q2, scalar)",
    "PRelu": "q = PRelu(s, c)",
    "activation": "q0 = Sigmoid(s) q = Mul(s, q0)",
    "pools": "q0 = MaxPool <kernel_shape = [2, 2]> (s) "
    "q = AveragePool <kernel_shape = [2, 2]> (q0)",
    "pad": "q = Pad(s, p)",
    "gate": "q0 = GlobalAveragePool(s) q1 = HardSigmoid(q0) q = Mul(q1, s)",
}


@pytest.mark.parametrize("opset", [13, 18, 22])
@pytest.mark.parametrize("body", CARRIED.values(), ids=CARRIED)
def test_is_carried_through(body, opset):
    """The first convolution keeps its groups, the last takes the order in."""
    text = (
        f"c0 = Conv <group = 3> (x, g3, wb) {STATIC['five dimensions']} {body} y = Conv(q, w, wb)"
    )
    result = _run(text, opset=opset)
    assert "Transpose" not in ops(result.graph)
    # What grows would carry more: there its operand is moved before.
    assert ops(result.graph).count("Gather") == (body.startswith(("q = Pad", "q = ConvT")))


@pytest.mark.parametrize(
    "body", ["q = Conv <group = 6, strides = [2, 2]> (s, d, db)", "q = Relu(s)"]
)
def test_between_grouped_convolutions_it_is_one_gather_where_least_is_left(body):
    before = f"c0 = Conv <group = 3> (x, g3, wb) {STATIC['five dimensions']}"
    text = f"{before} {body} y = Conv <group = 2> (q, g2)"
    result = _run(text)
    assert [op for op in ops(result.graph) if op != "Relu"] == [
        "Conv",
        *(["Conv"] * ("Conv" in body)),
        "Gather",
        "Conv",
    ]
    gather = next(node for node in result.graph.nodes if node.op == "Gather")
    assert gather.inputs[0].inputs[0].op == ("Relu" if "Relu" in body else "Conv")
    assert gather.inputs[1].values.tolist() == PICK


def test_sums_of_what_is_shuffled_alike():
    text = (
        "c0 = Conv <group = 3> (x, g3) a = Relu(c0) "
        "p1 = Gather <axis = 1> (a, pick) p2 = Gather <axis = 1> (x, pick) "
        "s = Add(p1, p2) y = Conv(s, v)"
    )
    assert ops(_run(text).graph) == ["Conv", "Relu", "Add", "Conv"]


def test_a_branch_that_is_free_follows_the_one_that_is_not():
    text = (
        "a = Relu(x) s = Gather <axis = 1> (a, pick) "
        "b = Conv(s, w, wb) r = Add(s, b) y = Conv(r, v)"
    )
    assert ops(_run(text).graph) == ["Relu", "Conv", "Add", "Conv"]


UNIT = (
    "{k}, {o} = Split <axis = 1> ({x}, halves) {o}1 = Conv({o}, k) {o}2 = Relu({o}1) "
    "{x}c = Concat <axis = 1> ({k}, {o}2) {x}a = Reshape({x}c, twos) "
    "{x}b = Transpose <perm = [0, 2, 1, 3, 4]> ({x}a) {y} = Reshape({x}b, zeros) "
)


def test_units_of_shufflenet_v2_become_pieces():
    chain = "".join(UNIT.format(k=f"k{i}", o=f"o{i}", x=f"s{i}", y=f"s{i + 1}") for i in range(3))
    result = _run(f"s0 = Conv(x, w, wb) {chain} y = Conv(s3, v, vb)")
    kinds = ops(result.graph)
    assert not {"Reshape", "Transpose", "Gather"} & set(kinds)
    copied = sum(node.outputs[0].shape[1] for node in result.graph.nodes if node.op == "Concat")
    assert kinds.count("Split") <= 3
    assert kinds.count("Concat") <= 3
    assert copied <= 12


ALONE = "does not exchange groups of channels alone"
STAYS = {
    "moves the batch": ("a = Reshape(c0, apart) b = Transpose <perm = [2, 0, 1, 3, 4]> (a) "
                        "s = Reshape(b, back)", "perm [2, 0, 1, 3, 4] " + ALONE),
    "turns the picture": ("a = Reshape(c0, apart) b = Transpose <perm = [0, 2, 1, 4, 3]> (a) "
                          "s = Reshape(b, back)", "perm [0, 2, 1, 4, 3] " + ALONE),
    "mixes positions in": ("a = Reshape(c0, odd) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) "
                           "s = Reshape(b, back)",
                           "its first Reshape does not split the channels alone"),
    "space to depth": ("a = Reshape(c0, apart) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) "
                       "s = Reshape(b, wide)",
                       "its last Reshape does not give back the shape before"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone_what_only_looks_like_it(body, reason):
    weights = {"odd": ints(-1, 3, 5, 2, 5), "wide": ints(-1, 5, 6, 5), "w": WEIGHTS["w"],
               "apart": WEIGHTS["apart"], "back": WEIGHTS["back"]}  # fmt: skip
    model = model_of(
        f"g (float[N, 6, 5, 5] x) => (float[] y) {{ c0 = Conv(x, w) {body} y = Relu(s) }}",
        {name: values for name, values in weights.items() if name in body or name == "w"},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_sizes_that_nothing_tells_are_not_guessed():
    """With both positions unknown a Reshape may turn H x W into W x H as well."""
    text = """g (float[N, 6, H, W] x, int64[5] apart, int64[4] back) => (float[] y) {
        c0 = Conv(x, w) a = Reshape(c0, apart) b = Transpose <perm = [0, 2, 1, 3, 4]> (a)
        s = Reshape(b, back) y = Relu(s) }"""
    result = run_pass(graph_of(text, {"w": WEIGHTS["w"]}), PASS, verify="off")
    assert result.edits == 0
    halved = """g (float[N, 6, H, W] x) => (float[] y) {
        c0 = Conv(x, w) z = Shape(c0) hw = Slice(z, two, four) u = Div(hw, two)
        p = Concat <axis = 0> (n, g, u) a = Reshape(c0, p)
        b = Transpose <perm = [0, 2, 1, 3, 4]> (a) s = Reshape(b, z) y = Relu(s) }"""
    weights = {"two": ints(2), "four": ints(4), "n": ints(-1), "g": ints(3, 2)}
    result = run_pass(graph_of(halved, {"w": WEIGHTS["w"], **weights}), PASS, verify="off")
    assert result.edits == 0
    swapped = """g (float[N, 6, H, W] x) => (float[] y) {
        c0 = Conv(x, w) z = Shape(c0) h = Gather(z, two) v = Gather(z, three) n = Gather(z, zero)
        p = Concat <axis = 0> (n, g, v, h) a = Reshape(c0, p)
        b = Transpose <perm = [0, 2, 1, 3, 4]> (a)
        q = Concat <axis = 0> (n, six, h, v) s = Reshape(b, q) y = Relu(s) }"""
    weights = {"two": ints(2), "three": ints(3), "zero": ints(0), "g": ints(3, 2), "six": ints(6)}
    result = run_pass(graph_of(swapped, {"w": WEIGHTS["w"], **weights}), PASS)
    assert result.edits == 0
    assert reasons(result) == {"its first Reshape does not split the channels alone"}


@pytest.mark.parametrize(
    "body",
    [
        "q, i = MaxPool <kernel_shape = [2, 2]> (s) r = Cast <to = 1> (i) t0 = Flatten(r) "
        "u0 = Flatten(q) y = Concat <axis = 1> (t0, u0)",  # the indices count the channels
        "t0 = Relu(s) q = Pad(t0, moved) y = Conv(q, w)",
        "q = Softmax <axis = 1> (s) r = LRN <size = 3> (q) y = Conv(r, w)",
    ],
)
def test_what_knows_its_neighbours_gets_its_channels_as_they_were(body):
    before = f"c0 = Conv <group = 3> (x, g3) {STATIC['five dimensions']}"
    result = _run(f"{before} {body}")
    kinds = ops(result.graph)
    gather = next(node for node in result.graph.nodes if node.op == "Gather")
    (reader,) = gather.outputs[0].outputs
    assert reader.op in ("MaxPool", "Pad", "Softmax")
    assert kinds.count("Gather") == 1
    assert "Transpose" not in kinds


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        # One Gather is what moving takes between an input and an output that must stay as they are.
        ("s = Gather <axis = 1> (x, pick) y = Flatten(s)", True),
        ("a = Conv <group = 3> (x, g3) s = Gather <axis = 1> (a, pick) "
         "y = Conv <group = 2> (s, g2)", True),
        ("a = Conv(x, w) q, r = Split <axis = 1> (a, halves) q1 = Conv(q, k) r1 = Conv(r, k) "
         "y = Concat <axis = 1> (q1, r1)", False),
        ("a = Conv(x, u) b = Conv(x, u) y = Concat <axis = 1> (a, b)", False),
    ],
)  # fmt: skip
def test_what_costs_as_much_any_other_way_stays(text, declines):
    result = _run(text)
    assert result.edits == 0
    assert reasons(result) == ({FREE} if declines else set())


def test_a_table_that_repeats_channels():
    result = _run("a = Conv(x, w) s = Gather <axis = 1> (a, duplicate) y = Conv(s, w)")
    assert result.edits in (0, 1)


def test_weights_that_others_read_stay_as_they_are():
    twin = "q = Flatten(s) other = Conv(x, w, wb) y = Flatten(other)"
    text = f"c0 = Conv(x, w, wb) {STATIC['Gather']} {twin}"
    result = _run(text, result="float[] y, float[] q")
    assert sorted(ops(result.graph)) == ["Conv", "Conv", "Flatten", "Flatten"]


def test_a_weight_that_a_caller_may_override_is_not_permuted():
    model = model_of(
        "g (float[2, 6, 5, 5] x, float[6, 6, 1, 1] w) => (float[] y) { "
        "a = Conv(x, w) s = Gather <axis = 1> (a, pick) y = Flatten(s) }",
        {"w": WEIGHTS["w"], "pick": WEIGHTS["pick"]},
    )
    assert run_pass(planish.load(model), PASS).edits == 0


def test_inside_and_across_the_border_of_a_branch():
    body = STATIC["five dimensions"]
    text = f"""g (float[2, 6, 5, 5] x, bool t) => (float[] y) {{
        c0 = Conv(x, w, wb) {body}
        y = If (t) <then_branch = p () => (float[] e) {{ e = Flatten(s) }},
                    else_branch = q () => (float[] f) {{
                        i = Conv(s, w) j = Gather <axis = 1> (i, pick) f = Flatten(j) }}> }}"""
    model = model_of(text, {n: WEIGHTS[n] for n in ("w", "wb", "apart", "back", "pick")})
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "If"]
    assert ops(result.graph.nodes[1].attrs["else_branch"]) == ["Conv", "Flatten"]
    for t in (True, False):
        x = np.random.default_rng(3).standard_normal((2, 6, 5, 5)).astype(np.float32)
        assert_same_function(model, result.graph, {"x": x, "t": np.array(t)})


@pytest.mark.parametrize("opset", [9, 11])
def test_old_spellings_of_split(opset):
    graph = graph_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2, 6, 5, 5] x) => (float[2, 3, 5, 5] y, float[2, 3, 5, 5] z) {{
            a = Conv(x, w) s = Gather <axis = 1> (a, pick)
            q, r = Split <axis = 1, split = [3, 3]> (s) y = Conv(q, k) z = Relu(r) }}""",
        {n: WEIGHTS[n] for n in ("w", "pick", "k")},
    )
    result = run_pass(graph, PASS)
    assert sorted(ops(result.graph)) == ["Conv", "Conv", "Relu", "Split"]


def test_half_precision():
    weights = {"w": WEIGHTS["w"].astype(np.float16), "pick": WEIGHTS["pick"]}
    model = model_of(
        "g (float16[2, 6, 5, 5] x) => (float16[] y) { a = Conv(x, w) "
        "s = Gather <axis = 1> (a, pick) y = Flatten(s) }",
        weights,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Flatten"]
    assert result.graph.nodes[0].inputs[1].values.dtype == np.float16


@given(case=networks(patterns=STEPS))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_keeps_the_function_of_random_networks(case):
    _check(case, f"fold-constants,{PASS}")


def test_a_tensor_without_channels_is_no_obstacle():
    given_model = model_of(
        """g (float[2, 4, 6, 6] x) => (float[2, 4, 6, 6] y, float[2, 0, 6, 6] z) {
            a = Conv(x, w)
            b = Reshape(a, apart)
            c = Transpose <perm = [0, 2, 1, 3, 4]> (b)
            d = Reshape(c, together)
            y = Conv(d, w)
            none = Slice(d, last, last, axis)
            z = Relu(none)
        }""",
        {
            "w": np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32),
            "apart": np.array([0, 2, 2, 6, 6]),
            "together": np.array([0, 4, 6, 6]),
            "last": np.array([4]),
            "axis": np.array([1]),
        },
    )
    result = run_pass(planish.load(given_model), "absorb-channel-shuffle")
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 6)).astype(np.float32)
    assert_same_function(given_model, result.graph, {"x": x})
