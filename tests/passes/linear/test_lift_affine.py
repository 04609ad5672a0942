"""Scales and shifts go over operators that move elements, into the layer before these."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "lift-affine"
G = np.random.default_rng(5)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 24),
    "b": normal(24),
    "conv": normal(24, 8, 1, 1),
    "cb": normal(24),
    "heads": np.array([0, 0, 3, 2, 4]),
    "maps": np.array([0, 2, 12, -1]),
    "tokens": np.array([-1, 24]),
    "rows": np.array([-1, 5, 24]),
    "first": np.array([0]),
    "i0": np.array(0),
    "i1": np.array(1),
    "i2": np.array(2),
    "c": np.float32(0.35),
    "c1": np.full((1,), 0.35, np.float32),
    "column": normal(2, 1, 4),
    "parts": np.array([1, 4]),
    "wide": normal(2, 5, 4),
    "high": np.full((1, 1, 1, 1, 1), 0.35, np.float32),
    "s24": normal(24),
    "t24": normal(24),
    "v24": G.uniform(0.5, 2, 24).astype(np.float32),
}
LINEAR = "p = MatMul(x, w) a = Add(p, b)"
APART = "r = Reshape(a, heads) t = Transpose <perm = [2, 0, 3, 1, 4]> (r)"
SPLIT = (
    f"{LINEAR} {APART} q0, k0, v0 = Split <axis = 0, num_outputs = 3> (t) q = Squeeze(q0, first)"
)
GATHERED = f"{LINEAR} {APART} q = Gather(t, i0) k = Gather(t, i1) v = Gather(t, i2)"
BN = "BatchNormalization <epsilon = 0.01> ({}, s24, t24, t24, v24)"


def model(body, kind="float[N, 5, 8]", outputs="float[] y"):
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    used = {name: values for name, values in WEIGHTS.items() if name in words}
    return model_of(
        f'<ir_version: 8, opset_import: ["" : 18]>\ng ({kind} x) => ({outputs}) {{ {body} }}',
        used,
    )


def feeds(*shape):
    return {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


FIRES = {
    "positions, of which others are not read": (
        f"{LINEAR} d, e = Split <axis = 1> (a, parts) y = Mul(e, c)"),
    "queries of a Split": f"{SPLIT} y = Mul(q, c)",
    "a constant of one value": f"{SPLIT} y = Mul(c1, q)",
    "a quotient": f"{SPLIT} y = Div(q, c)",
    "keys, transposed": (
        f"{SPLIT} k = Squeeze(k0, first) z = Transpose <perm = [0, 1, 3, 2]> (k) y = Mul(z, c)"),
    "one value a channel": f"{SPLIT} y = Mul(q, column)",
    "one shift a channel": f"{SPLIT} y = Sub(q, column)",
    "Gather, others beside": f"{GATHERED} m = Mul(q, c) n = Add(m, k) y = Add(n, v)",
    "Gather twice": f"{GATHERED} m = Mul(q, c) n = Mul(k, c) o = Add(m, n) y = Add(o, v)",
    "its shape is read too": f"{GATHERED} z = Shape(q) m = Mul(q, c) y = Expand(m, z)",
    "behind the product": (
        f"{GATHERED} z = Transpose <perm = [0, 1, 3, 2]> (k) m = MatMul(q, z) y = Mul(m, c)"),
    "before the product": (
        f"{GATHERED} z = Transpose <perm = [0, 1, 3, 2]> (k) n = Mul(z, c) y = MatMul(q, n)"),
    "BatchNorm1d over tokens": (
        f"{LINEAR} f = Reshape(a, tokens) n = {BN.format('f')} y = Reshape(n, rows)"),
    "BatchNorm1d without a bias before": (
        f"a = MatMul(x, w) f = Reshape(a, tokens) n = {BN.format('f')} y = Reshape(n, rows)"),
}  # fmt: skip


@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_fires(body, batch):
    before = model(body, f"float[{batch}, 5, 8]")
    result = run_pass(planish.load(before), PASS)
    left = [op for op in ops(result.graph) if op in ("Mul", "Div", "Sub", "BatchNormalization")]
    assert result.edits
    assert not left
    assert_same_function(before, result.graph, feeds(2, 5, 8))


CONV = "a = Conv(x, conv, cb) r = Reshape(a, maps)"


@pytest.mark.parametrize(
    "body",
    [
        f"{CONV} y = Mul(r, c)",
        f"{CONV} t = Transpose <perm = [0, 1, 3, 2]> (r) y = Mul(t, c)",
        f"{CONV} z = Neg(x) u = Conv(z, conv) v = Reshape(u, maps) "
        "t = Transpose <perm = [0, 1, 3, 2]> (v) m = MatMul(t, r) y = Mul(m, c)",
    ],
)
def test_attention_of_maps(body):
    before = model(body, "float[N, 8, 3, 2]")
    result = run_pass(planish.load(before), PASS)
    assert "Mul" not in ops(result.graph)
    assert_same_function(before, result.graph, feeds(2, 8, 3, 2))


OTHERS = "what its channels come from has other readers"
PART = "another part of what its channels come from is read too"
STAYS = {
    "other positions of its channels": (
        f"{LINEAR} d, e = Split <axis = 1> (a, parts) m = Mul(e, c) y = Concat <axis = 1> (d, m)",
        "float[] y", PART),
    "other positions that are an output": (
        f"{LINEAR} z, e = Split <axis = 1> (a, parts) y = Mul(e, c)", "float[] y, float[] z", PART),
    "next to the layer": (f"{LINEAR} y = Mul(a, c)", "float[] y", None),
    "no layer": ("t = Transpose(x) y = Mul(t, c)", "float[] y", None),
    "another reader": (f"{SPLIT} m = Mul(q, c) n = Neg(q) y = Add(m, n)", "float[] y", OTHERS),
    "another reader of the layer": (
        f"{SPLIT} m = Mul(q, c) y = ReduceMean(m) z = Neg(a)", "float[] y, float[] z", OTHERS),
    "another reader of its channels": (
        f"{GATHERED} m = Mul(q, c) o = Gather(t, first) n = Add(m, k) y = Add(n, v) z = Neg(o)",
        "float[] y, float[] z", OTHERS),
    "its square": (f"{SPLIT} m = Mul(q, c) y = Mul(q, q)", "float[] m, float[] y", OTHERS),
    "an output": (f"{SPLIT} y = Mul(q, c)", "float[] y, float[] q", OTHERS),
    "one value a token": (
        f"{SPLIT} y = Mul(q, wide)", "float[] y",
        "its constant is not one value per channel of the layer before it"),
    "a new axis": (
        f"{SPLIT} y = Mul(q, high)", "float[] y",
        "its constant has more axes than what it reads"),
    "a bias behind a Reshape": (
        "a = MatMul(x, w) f = Reshape(a, tokens) n = Add(f, b) y = Reshape(n, rows)", "float[] y",
        "MatMul would need an Add for its bias, which it is already"),
    "tokens and channels in one": (
        f"{LINEAR} f = Reshape(a, minus) y = Mul(f, c)", "float[] y",
        "its channels cannot be followed through Reshape"),
}  # fmt: skip
WEIGHTS["minus"] = np.array([-1])


@pytest.mark.parametrize(("body", "outputs", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, outputs, reason):
    before = model(body, outputs=outputs)
    result = run_pass(planish.load(before), PASS, verify="off")
    assert result.edits == 0
    assert reason is None or reason in reasons(result)


@st.composite
def lifted(draw):
    """A layer, moves of its result, and a scale and shift of what comes out."""
    conv = draw(st.booleans())
    shape = (2, 24, 3, 2) if conv else (2, 5, 24)
    values = {"w": WEIGHTS["conv"] if conv else WEIGHTS["w"], "b": WEIGHTS["b"]}
    body = "v0 = Conv(x, w, b) " if conv else "p = MatMul(x, w) v0 = Add(p, b) "
    for number in range(1, draw(st.integers(2, 5))):
        name, last = f"v{number}", f"v{number - 1}"
        match draw(st.sampled_from(["Transpose", "Reshape", "Split", "Gather", "Slice"])):
            case "Transpose":
                perm = draw(st.permutations(range(len(shape))))
                body += f"{name} = Transpose <perm = {list(perm)}> ({last}) "
                shape = tuple(shape[axis] for axis in perm)
            case "Reshape":
                axis = draw(st.integers(0, len(shape) - 1))
                by = draw(st.sampled_from([d for d in (1, 2, 3, 4) if shape[axis] % d == 0]))
                joined = (*shape[:axis], by, shape[axis] // by, *shape[axis + 1 :])
                if draw(st.booleans()) and axis + 1 < len(shape):
                    joined = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
                shape = joined
                values[f"s{number}"] = np.array(shape)
                body += f"{name} = Reshape({last}, s{number}) "
            case "Split":
                axis = draw(st.integers(0, len(shape) - 1))
                size = draw(st.integers(1, shape[axis]))
                body += (
                    f"{name} = Split <axis = {axis}> ({last}, s{number}) "
                    if size == shape[axis]
                    else f"{name}, u{number} = Split <axis = {axis}> ({last}, s{number}) "
                )
                values[f"s{number}"] = np.array([s for s in (size, shape[axis] - size) if s])
                shape = (*shape[:axis], size, *shape[axis + 1 :])
            case "Gather":
                axis = draw(st.integers(0, len(shape) - 1))
                index = draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1,
                                      max_size=3))  # fmt: skip
                values[f"s{number}"] = np.array(index)
                body += f"{name} = Gather <axis = {axis}> ({last}, s{number}) "
                shape = (*shape[:axis], len(index), *shape[axis + 1 :])
            case "Slice":
                axis = draw(st.integers(0, len(shape) - 1))
                start = draw(st.integers(0, shape[axis] - 1))
                step = draw(st.sampled_from([1, 2, -1]))
                end = -100 if step < 0 else 100
                for part, value in zip("abcd", (start, end, axis, step), strict=True):
                    values[f"{part}{number}"] = np.array([value])
                bounds = ", ".join(f"{part}{number}" for part in "abcd")
                body += f"{name} = Slice({last}, {bounds}) "
                shape = (
                    *shape[:axis],
                    len(range(shape[axis])[start:None:step]),
                    *shape[axis + 1 :],
                )
        last = name
    kept = [size if draw(st.booleans()) else 1 for size in shape]
    count = math.prod(kept)
    for name in ("m", "n"):
        values[name] = (np.arange(1, count + 1, dtype=np.float32) / count + 0.5).reshape(kept)
    body += f"e = Mul({last}, m) y = Add(e, n)"
    size = (2, 8, 3, 2) if conv else (2, 5, 8)
    given_model = model_of(
        f'<ir_version: 8, opset_import: ["" : 17]>\n'
        f"g (float{list(size)} x) => (float[] y) {{ {body} }}",
        values,
    )
    return given_model, feeds(*size)


@given(case=lifted())
@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
def test_random_moves(case):
    before, given_feeds = case
    result = run_pass(planish.load(before), PASS, verify="off")
    assert_same_function(before, result.graph, given_feeds, 1e-5)
    assert run_pass(result.graph, PASS, verify="off").edits == 0


JOINED = {
    "shifts": ("a = Add(r, c4) t = Reshape(a, flat) y = Add(t, c41)", ["Reshape", "Add"]),
    "the constants first": (
        "a = Add(c4, r) t = Reshape(a, flat) y = Add(c41, t)", ["Reshape", "Add"]),
    "a difference behind": (
        "a = Add(r, c4) t = Reshape(a, flat) y = Sub(t, c41)", ["Reshape", "Add"]),
    "a difference before": (
        "a = Sub(r, c4) t = Reshape(a, flat) y = Add(t, c41)", ["Reshape", "Add"]),
    "from a constant and back": (
        "a = Sub(c4, r) t = Reshape(a, flat) y = Sub(c41, t)", ["Reshape", "Add"]),
    "scales": ("a = Mul(r, c4) t = Reshape(a, flat) y = Div(t, c41)", ["Reshape", "Mul"]),
    "Transpose": (
        "a = Add(r, c4) t = Transpose <perm = [0, 2, 3, 1]> (a) y = Add(t, e4)",
        ["Transpose", "Add"]),
    "one number before": (
        "a = Add(r, half) t = Reshape(a, flat) y = Add(t, c41)", ["Reshape", "Add"]),
    "one number behind": (
        "a = Add(r, c4) t = Reshape(a, flat) y = Add(t, half)", ["Reshape", "Add"]),
    "signs that cancel": (
        "a = Neg(r) t = Reshape(a, flat) b = Neg(t) y = Relu(b)", ["Reshape", "Relu"]),
    "several steps": (
        "a = Add(r, c4) s = Reshape(a, flat) t = Transpose <perm = [0, 2, 1]> (s) y = Add(t, e4)",
        ["Reshape", "Transpose", "Add"]),
    "several maps on each side": (
        "a = Mul(r, c4) b = Add(a, d4) t = Reshape(b, flat) c = Mul(t, c41) y = Sub(c, half)",
        ["Reshape", "Mul", "Add"]),
    "some channels": (
        "a = Add(r, c4) t = Gather <axis = 1> (a, pick) y = Add(t, c31)", ["Gather", "Add"]),
    "a slice": ("a = Add(r, c4) t = Slice(a, one, three, one) y = Add(t, c21)", ["Slice", "Add"]),
}  # fmt: skip
STAY = {
    "the first is read elsewhere":
        "a = Add(r, c4) t = Reshape(a, flat) b = Add(t, c41) y, z = b, a",
    "the rest of a Split is read":
        "a = Add(r, c4) t, u = Split <axis = 1, num_outputs = 2> (a) b = Add(t, half) y, z = b, u",
    "a bias": "p = MatMul(r, w6) a = Add(p, e6) t = Reshape(a, flat) b = Mul(t, c41) y = Relu(b)",
    "constants that together are a map":
        "a = Add(r, c4) t = Transpose <perm = [0, 2, 3, 1]> (a) b = Add(t, c51) y = Relu(b)",
    "a scale and a shift": "a = Mul(r, c4) t = Reshape(a, flat) b = Add(t, c41) y = Relu(b)",
    "a constant that widens":
        "a = Add(r, c4) t = Reshape(a, front) b = Add(t, wide3) y = Relu(b)",
    "a constant that widens before":
        "q = ReduceMax(r, three) a = Add(q, c46) t = Reshape(a, flat) b = Add(t, c41) y = Relu(b)",
}  # fmt: skip
HELD = {
    "c4": normal(4, 1, 1), "d4": normal(4, 1, 1), "c41": normal(4, 1), "e4": normal(4),
    "c31": normal(3, 1, 1), "c21": normal(2, 1, 1), "c51": normal(5, 1, 1), "e6": normal(6),
    "w6": normal(6, 6), "half": np.float32(0.5),
    "flat": np.array([0, 4, -1]), "c46": normal(4, 1, 6),
    "front": np.array([0, 1, 4, 30]), "wide3": normal(3, 1, 1), "pick": np.array([3, 0, 1]),
    "one": np.array([1]), "three": np.array([3]),
}  # fmt: skip


def movement(body, opset=18):
    words = set(re.findall(r"\w+", body))
    outputs = "float[] y, float[] z" if " z" in body else "float[] y"
    body = re.sub(r"y, z = (\w+), (\w+)", r"y = Relu(\1) z = Relu(\2)", body)
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 4, 5, 6] x) => ({outputs}) {{ r = Relu(x) {body} }}""",
        {name: values for name, values in HELD.items() if name in words},
    )


@pytest.mark.parametrize(("body", "left"), JOINED.values(), ids=JOINED)
def test_maps_on_both_sides_of_movement_are_one_behind_it(body, left):
    source = movement(body)
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == ["Relu", *left]
    x = np.abs(normal(2, 4, 5, 6))
    assert_same_function(source, result.graph, {"x": x}, 1e-6)


@pytest.mark.parametrize("body", STAY.values(), ids=STAY)
def test_maps_on_both_sides_of_movement_stay_where(body):
    source = movement(body)
    result = run_pass(planish.load(source), PASS)
    assert ops(result.graph) == [node.op_type for node in source.graph.node]
    assert_same_function(source, result.graph, {"x": normal(2, 4, 5, 6)}, 0)
