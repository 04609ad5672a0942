"""equalize-ranges over random networks: the outputs stay, and the noise it predicts falls."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from hypothesis import HealthCheck, assume, given, settings

import planish
from planish.passes.analysis.observe.capture import TensorCapture
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import Array, relative_error, run_ort
from tests.strategies import networks
from tests.strategies.quantize import STEPS

_SETTINGS = settings(
    max_examples=examples(20),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
OPTIONS = [
    "",
    "{per-channel=false}",
    "{weight-bits=4}",
    pytest.param("{activation-bits=16, per-channel=false}", marks=pytest.mark.slow),
]


def _bits(options: str) -> tuple[int, int, bool]:
    weights = 4 if "weight-bits=4" in options else 8
    return weights, 16 if "activation-bits=16" in options else 8, "false" not in options


def _predicted(graph: gs.Graph, feed: dict[str, Array], options: str) -> float:
    """Return the sum over layers of noise over signal, from the formulas, row by row."""
    weight_bits, activation_bits, per_channel = _bits(options)
    layers = [
        node
        for node in graph.nodes
        if node.op in ("Conv", "Gemm", "MatMul") and isinstance(node.inputs[1], gs.Constant)
    ]
    sources = TensorCapture(graph, [node.inputs[0].name for node in layers])(feed)
    total = 0.0
    for node in layers:
        x = sources[node.inputs[0].name].astype(np.float64)
        weight = np.asarray(node.inputs[1].values, np.float64)
        if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
            weight = weight.T
        power = np.square(x).mean(axis=tuple(i for i in range(x.ndim) if i != 1))
        span = max(x.max(), 0) - min(x.min(), 0)
        step = span / (2**activation_bits - 1)
        group = node.attrs.get("group", 1)
        rows = len(weight) // group
        noises = []
        for j, row in enumerate(weight):
            taps = row.reshape(weight.shape[1], -1)
            first = j // rows * weight.shape[1]
            read = power[first : first + weight.shape[1]]
            signal = float(np.square(taps).sum(axis=1) @ read)
            if signal <= 0:
                continue
            largest = np.abs(row if per_channel else weight).max()
            grain = largest / (2 ** (weight_bits - 1) - 1)
            noise = grain**2 / 12 * taps.shape[1] * read.sum() + step**2 / 12 * np.square(row).sum()
            noises.append(noise / signal)
        total += float(np.mean(noises)) if noises else 0.0
    return total


@pytest.mark.parametrize("options", OPTIONS)
@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_outputs_stay_and_predicted_noise_falls(case, options):
    assume(all(np.isfinite(array).all() for array in case.feeds.values()))
    graph = planish.load(case.model)
    expected = run_ort(case.model, case.feeds)
    assume(all(np.isfinite(array).all() for array in expected.values()))
    steps = planish.Pipeline.parse("equalize-ranges" + options)
    try:
        result = steps.run(graph, [case.feeds] * 2, verify="off")
    except planish.FeedError:
        assume(False)  # an inner tensor overflows
    found = run_ort(planish.to_model(result.graph), case.feeds)
    errors = [relative_error(array, found[name]) for name, array in expected.items()]
    tolerance = 1e-5
    if max(errors) > tolerance:
        tolerance = 10 * measure_rounding(graph, [case.feeds], [expected], seed=0)
    assert max(errors) <= max(tolerance, 1e-5)
    assert steps.run(result.graph, [case.feeds] * 2, verify="off").edits == 0
    before, after = (_predicted(g, case.feeds, options) for g in (graph, result.graph))
    assert after <= before * (1 + 1e-4)
