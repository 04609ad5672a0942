"""What is computed in bfloat16, how far the outputs are off, and what goes back to float32."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import planish

from tests.helpers import Array, model_of, ops, reasons, relative_error, run_ort

TEXT = """g (float[N, 6, 9, 8] x) => (float[N, 10] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    r = Relu (c)
    d = Conv <pads = [1, 1, 1, 1]> (r, w1)
    p = GlobalAveragePool (d)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w2)
}"""
# Half a unit in the last of 8 digits.
UNIT = 2.0**-9


def normal(*shape: int) -> Array:
    return np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w0": normal(20, 6, 3, 3) / 7,
    "b0": normal(20),
    "w1": normal(20, 20, 3, 3) / 13,
    "w2": normal(10, 20) / 4,
}
MODEL = model_of(TEXT, WEIGHTS)
FEEDS = [{"x": normal(1, 6, 9, 8) * (1 + i)} for i in range(4)]


def run(text: str, model: object = MODEL) -> planish.PipelineResult:
    return planish.Pipeline.parse(text).run(planish.load(model), FEEDS)


def narrow(graph) -> Counter[str]:
    """Count the operators of `graph` that are given bfloat16 weights."""
    return Counter(
        node.op
        for node in graph.nodes
        for tensor in node.inputs
        if hasattr(tensor, "values") and str(tensor.values.dtype) == "bfloat16"
    )


def sqnr(graph) -> float:
    """Return how close the outputs are, in dB, as a runtime of its own has them."""
    pytest.importorskip("openvino")
    compiled = planish.lower(graph, backend="openvino", threads=1)
    pairs = [(run_ort(MODEL, feed)["y"], compiled(feed)["y"]) for feed in FEEDS]
    signal = sum(np.square(a, dtype=np.float64).sum() for a, _ in pairs)
    noise = sum(np.square(a.astype(np.float64) - b).sum() for a, b in pairs)
    return 10 * np.log10(signal / noise)


def test_all_layers_and_what_is_between_them() -> None:
    result = run("mix-precision")
    assert narrow(result.graph) == {"Conv": 3, "Gemm": 1}  # with a bias
    assert ops(result.graph).count("Cast") == 2
    assert [str(t.dtype) for t in (*result.graph.inputs, *result.graph.outputs)] == ["float32"] * 2
    (record,) = result.records
    assert "3 of 3 layers in bfloat16" in " ".join(record.remarks)


@pytest.mark.usefixtures("code_as_it_is")
@pytest.mark.parametrize("backend", ["tvm", "openvino"])
def test_backends_compute_what_it_was_judged_by(backend) -> None:
    pytest.importorskip(backend)
    graph = run("bf16").graph
    compiled = planish.lower(graph, backend=backend, threads=1)
    for feed in FEEDS[:2]:
        error = relative_error(run_ort(MODEL, feed)["y"], compiled(feed)["y"])
        assert UNIT / 64 < error < 6 * UNIT


def test_the_fewest_layers_that_a_bound_takes_stay_float32() -> None:
    everything = sqnr(run("mix-precision{guard=off}").graph)
    bound = everything + 3
    result = run(f"mix-precision{{min-sqnr={bound:.2f}}}")
    assert 0 < sum(narrow(result.graph).values()) < 4
    # Runtimes that do not round between operators that they fuse are closer than that.
    assert sqnr(result.graph) >= bound - 0.5
    assert all("bfloat16 would cost" in reason for reason in reasons(result))
    assert "beside the float32 graph" in " ".join(result.records[0].remarks)


def test_what_is_excluded_or_kept_stays_float32() -> None:
    assert narrow(run("mix-precision{exclude=[Gemm]}", _named()).graph) == {"Conv": 3}
    assert narrow(run("mix-precision{keep=[Conv]}").graph) == {"Gemm": 1}


def _named():
    model = model_of(TEXT, WEIGHTS)
    for node in model.graph.node:
        node.name = node.op_type if node.op_type == "Gemm" else node.output[0]
    return model


def test_a_bound_that_nothing_keeps_leaves_what_exact_makes() -> None:
    result = run("bf16{min-sqnr=200}")
    assert not narrow(result.graph)
    assert ops(result.graph) == ops(run("exact").graph)
    told = " ".join(remark for record in result.records for remark in record.remarks)
    assert "the graph stays float32" in told
    assert "min-sqnr=200 is not reached, not even with one layer in bfloat16" in told


def test_a_second_run_changes_nothing() -> None:
    once = run("bf16").graph
    again = planish.Pipeline.parse("bf16").run(once, FEEDS)
    assert sum(record.edits for record in again.records) == 0
    told = [remark for record in again.records for remark in record.remarks]
    assert "the graph has bfloat16 already and was left alone" in told


def test_a_graph_without_layers_is_left_alone() -> None:
    model = model_of("g (float[N, 6, 9, 8] x) => (float[] y) { y = Relu (x) }", {})
    assert ops(run("mix-precision", model).graph) == ["Relu"]
