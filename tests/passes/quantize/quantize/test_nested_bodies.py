"""Random nests of bodies: integers come in, out and through, and runtimes load what is written."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.ir.graph.uses import scopes
from planish.passes.analysis.observe.bodies import show_inner
from planish.passes.analysis.observe.capture import TensorCapture

from tests.helpers import graph_of, run_ort
from tests.strategies.nested import nested_feeds, nested_model

TEXT = "quantize{measure=false,guard=off,calibration=min-max,products=true}"
SEEDS = [1, 4, 6, 93, 100, 122, 262, 269]


@pytest.mark.parametrize("seed", SEEDS)
def test_nests(seed):
    model, feeds = nested_model(seed), nested_feeds(seed)
    result = planish.Pipeline.parse(TEXT).run(planish.load(model), feeds, verify="off", strict=True)
    written = planish.to_model(result.graph)
    session = ort.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = (t.name for t in result.graph.outputs)
    wanted = [run_ort(model, feed)[name] for feed in feeds]
    largest = max(np.linalg.norm(array) for array in wanted)
    for feed, array in zip(feeds, wanted, strict=True):
        assert np.linalg.norm(array - session.run([name], feed)[0]) <= 0.2 * largest
    again = planish.Pipeline.parse(TEXT).run(result.graph, feeds, verify="off")
    assert again.edits == 0


def test_the_seeds_say_something():
    inner = 0
    for seed in SEEDS:
        graph = planish.load(nested_model(seed))
        inner += sum(
            node.op == "MatMul" for s in scopes(graph) if s is not graph for node in s.nodes
        )
    assert inner > 2 * len(SEEDS)


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("opset", [12, 17])
def test_values_of_a_body_within_a_body_are_all_seen(steps, opset):
    """A state that is doubled where it is small and halved elsewhere, against plain Python."""
    graph = graph_of(f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[4] x) => (float[4] y) {{
            n = Constant <value_int = {steps}> () t = Constant <value = bool {{1}}> ()
            two = Constant <value_float = 2.0> () few = Constant <value_float = 3.0> ()
            y = Loop (n, t, x) <body = a (int64 i, bool k, float[4] s) => (bool j, float[4] r) {{
                j = Identity (k) m = ReduceMax <keepdims = 0> (s) small = Less (m, few)
                r = If (small) <
                    then_branch = b () => (float[4] u) {{ u = Mul (s, two) }},
                    else_branch = c () => (float[4] v) {{ v = Div (s, two) }}
                > }}> }}""")
    x = np.array([1.0, 0.5, -2.0, 0.25], np.float32)
    wanted: dict[str, list[np.ndarray]] = {"s": [], "u": [], "v": [], "r": []}
    state = x
    for _ in range(steps):
        wanted["s"].append(state)
        small = state.max() < 3
        state = state * 2 if small else state / 2
        wanted["u" if small else "v"].append(state)
        wanted["r"].append(state)
    found = TensorCapture(graph, [*wanted, "y"])({"x": x})
    np.testing.assert_array_equal(found["y"], state)
    for name, rows in wanted.items():
        np.testing.assert_array_equal(found[name], np.concatenate([*rows, np.zeros(0)]))


def test_a_step_of_a_loop_writes_its_own_values_alone():
    """All values so far, written anew at every step, take the square of the steps."""
    graph = graph_of("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x, int64 n) => (float[4] y) {
            t = Constant <value = bool {1}> () h = Constant <value_float = 0.5> ()
            y = Loop (n, t, x) <body = a (int64 i, bool k, float[4] s) => (bool j, float[4] r) {
                j = Identity (k) m = Mul (s, h) r = Neg (m) }> }""")
    show_inner(graph, {"m", "s"})
    body = next(scope for scope in scopes(graph) if scope is not graph)
    made = Counter(node.op for node in body.nodes)
    assert (made["SequenceInsert"], made["Concat"]) == (2, 0)
    assert not any(node.op == "Concat" for node in graph.nodes)
