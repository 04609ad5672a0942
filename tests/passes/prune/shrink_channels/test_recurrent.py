"""Recurrent layers: channels go up to them and hidden units inside, on ONNX Runtime the same."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish

from tests.helpers import Array, model_of, reasons, relative_error, run_ort, run_pass

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HIDDEN, INPUT, STEPS = 8, 6, 5
SHRINK = "shrink-channels{measure=false}"
NETWORK = """g (float[N, 4, 1, T] x) => (float[] y) {{
    c = Conv <pads = [0, 1, 0, 1]> (x, k, kb)
    a = Relu (c)
    s = Squeeze (a, two)
    t = Transpose <perm = [2, 0, 1]> (s)
    {call}
    {behind}
}}"""
BEHIND = """u = Transpose <perm = [0, 2, 1, 3]> (h)
    f = Reshape (u, flat)
    y = MatMul (f, v)"""


def _weights(op: str, directions: int, hidden: int = HIDDEN) -> dict[str, Array]:
    rng = np.random.default_rng(len(op) + directions)
    rows = GATES[op] * hidden

    def normal(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "k": normal(INPUT, 4, 1, 3),
        "kb": normal(INPUT),
        "two": np.array([2]),
        "w": normal(directions, rows, INPUT),
        "r": normal(directions, rows, hidden),
        "b": normal(directions, 2 * rows),
        "p": normal(directions, 3 * hidden),
        "h0": normal(directions, 2, hidden),
        "flat": np.array([0, 0, directions * hidden]),
        "v": normal(directions * hidden, 3),
    }


def _call(op: str, direction: str, inputs: str = "t, w, r, b", outputs: str = "h") -> str:
    return f'{outputs} = {op} <hidden_size = {HIDDEN}, direction = "{direction}"> ({inputs})'


def _model(call: str, weights: dict[str, Array], behind: str = BEHIND):
    text = NETWORK.format(call=call, behind=behind)
    used = {key: held for key, held in weights.items() if f" {key}," in text or f" {key})" in text}
    return model_of('<ir_version: 8, opset_import: ["" : 17]>\n' + text, used)


def _shapes(graph: gs.Graph) -> dict[str, list[int]]:
    constants = [t for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]
    return {t.name: list(t.shape) for t in constants}


def _assert_same(model, graph: gs.Graph) -> None:
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(2, 4, 1, STEPS)).astype(np.float32)}
    wanted, found = run_ort(model, feeds), run_ort(planish.to_model(graph), feeds)
    for name, array in wanted.items():
        assert relative_error(array, found[name]) <= 1e-5


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_inputs_go_that_no_gate_reads(op, direction):
    directions = 2 if direction == "bidirectional" else 1
    weights = _weights(op, directions)
    weights["w"][:, :, [1, 4]] = 0
    model = _model(_call(op, direction), weights)
    result = run_pass(planish.load(model), SHRINK)
    assert _shapes(result.graph)["k"] == [INPUT - 2, 4, 1, 3]
    assert _shapes(result.graph)["w"] == [directions, GATES[op] * HIDDEN, INPUT - 2]
    _assert_same(model, result.graph)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_hidden_units_go_that_nothing_reads(op, direction):
    """In both directions at once, as there is one hidden size; their biases are not zero."""
    directions = 2 if direction == "bidirectional" else 1
    weights = _weights(op, directions)
    gone = [0, 3, 7]
    weights["r"][:, :, gone] = 0
    weights["v"].reshape(directions, HIDDEN, 3)[:, gone] = 0
    inputs = "t, w, r, b, , h0, h0, p" if op == "LSTM" else "t, w, r, b, , h0"
    model = _model(_call(op, direction, inputs), weights)
    result = run_pass(planish.load(model), SHRINK)
    rows = GATES[op] * (HIDDEN - 3)
    shapes = _shapes(result.graph)
    assert shapes["w"] == [directions, rows, INPUT]
    assert shapes["r"] == [directions, rows, HIDDEN - 3]
    assert shapes["b"] == [directions, 2 * rows]
    assert shapes["h0"] == [directions, 2, HIDDEN - 3]
    (node,) = (n for n in result.graph.nodes if n.op == op)
    assert node.attrs["hidden_size"] == HIDDEN - 3
    _assert_same(model, result.graph)


def test_what_one_direction_reads_stays():
    weights = _weights("GRU", 2)
    weights["r"][:, :, 2] = 0
    weights["v"].reshape(2, HIDDEN, 3)[0, 2] = 0
    model = _model(_call("GRU", "bidirectional"), weights)
    result = run_pass(planish.load(model), SHRINK)
    assert result.edits == 0


def test_a_unit_that_is_read_by_its_own_gates_stays():
    weights = _weights("LSTM", 1)
    weights["v"][2] = 0  # other units read it
    model = _model(_call("LSTM", "forward"), weights)
    assert run_pass(planish.load(model), SHRINK).edits == 0


def test_units_of_the_last_state_alone():
    weights = _weights("LSTM", 1)
    weights["r"][:, :, 5] = 0
    weights["v"][5] = 0
    behind = "f = Squeeze (e, zero)  y = MatMul (f, v)"
    weights["zero"] = np.array([0])
    model = _model(_call("LSTM", "forward", outputs=", e"), weights, behind)
    result = run_pass(planish.load(model), SHRINK)
    assert _shapes(result.graph)["r"] == [1, 4 * (HIDDEN - 1), HIDDEN - 1]
    _assert_same(model, result.graph)


@pytest.mark.parametrize("criterion", ["l1", "taylor", "reconstruction"])
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_pruned_and_shrunk(op, criterion):
    """Masks stand below both weights and the bias; what is shrunk computes what is masked."""
    model = _model(_call(op, "bidirectional"), _weights(op, 2))
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.normal(size=(2, 4, 1, STEPS)).astype(np.float32)} for _ in range(4)]
    text = f"prune{{amount=0.4,granularity=channel,criterion={criterion},multiple=1}}"
    masked = planish.Pipeline.parse(text).run(planish.load(model), feeds)
    assert masked.records[0].edits
    shrunk = planish.Pipeline.parse(SHRINK).run(masked.graph)
    (node,) = (n for n in shrunk.graph.nodes if n.op == op)
    assert node.attrs["hidden_size"] < HIDDEN
    assert _shapes(shrunk.graph)["k"][0] < INPUT
    _assert_same(planish.to_model(masked.graph), shrunk.graph)


def test_computed_weights_are_left_alone():
    call = "z = Add (w, w)  " + _call("GRU", "forward", "t, z, r, b")
    graph = planish.load(
        _model(
            call.replace(
                "Add (w, w)", "ReduceMean <axes = [0, 1, 2, 3], keepdims = 0> (x)  zz = Add (z, w)"
            ).replace("t, z, r", "t, zz, r"),
            _weights("GRU", 1),
        )
    )
    result = run_pass(graph, "prune{amount=0.4,granularity=channel}")
    assert any("are not constant" in reason for reason in reasons(result))
