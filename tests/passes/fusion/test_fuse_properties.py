"""The fusions over random networks of what they look for, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import planish
from benchmarks.patterns.fusion import PATTERNS
from planish.ir.ops.fused.operators import Fused, fused_function, read_fused

from tests.effort import examples
from tests.passes.test_exporters import runtime_nodes
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.fusion import STEPS

FUSE = "fuse-squeeze-excite,fuse-matmul-bias,fuse-conv-activation,fuse-conv-pool"
_SETTINGS = settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_fusions_keep_the_function(case):
    _check(case, FUSE)


@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_fusions_after_recognition_keep_the_function(case):
    _check(case, f"cleanup,recognize-activations,recognize-pooling,{FUSE},cleanup")


@given(case=networks(patterns=STEPS))
@_SETTINGS
def test_fusions_keep_every_operator_but_those_they_write_anew(case):
    """Inlined, fused operators are what was there: nothing is lost, doubled or split."""
    graph = planish.load(case.model)
    fused = planish.Pipeline.parse("fuse-conv-activation,fuse-conv-pool").run(graph, verify="off")
    inlined = planish.to_model(fused.graph, portable=True)
    assert kinds(inlined) == kinds(case.model)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("opset", [7, 11, 17, 22])
def test_names_read_back(opset):
    names = [
        linear + add + activation + pool
        for linear in ("Conv", "ConvTranspose", "Gemm")
        for add in ("", "Add")
        for activation in ("", "Relu", "Clip", "Silu", "GatedHardSigmoid", "PRelu", "Mish")
        for pool in ("", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    ]
    for name in names:
        fused = read_fused(name, opset)
        assert isinstance(fused, Fused)
        assert fused.name == name
        function = fused_function(fused, opset)
        assert function.name == name
        labels = [node.name for node in function.nodes]
        assert len(set(labels)) == len(labels)
    assert read_fused("ConvFoo", opset) is None
    assert read_fused("SqueezeExciteReluSigmoid", opset) is None


@pytest.mark.parametrize("pattern", PATTERNS, ids=[pattern.name for pattern in PATTERNS])
def test_patterns_are_one_operator_and_cost_onnx_runtime_nothing(pattern, tmp_path):
    """After its own fusions ONNX Runtime executes the same kernels, so that none is slower.

    Changes of layout apart: with a pooling in blocks in place of ReduceMean there is one more, of
    one value a channel, and the whole is 2 to 3 % faster.
    """
    model = pattern.build()
    graph = planish.load(model)
    result = planish.Pipeline.parse(FUSE).run(graph, verify="each")
    assert pattern.folded(planish.to_model(result.graph))
    portable = planish.load(planish.to_model(result.graph, portable=True))
    before, *after = (kernels(each, tmp_path) for each in (graph, result.graph, portable))
    for found in after:
        assert found.total() <= before.total(), (before, found)


def kernels(graph, folder) -> Counter[str]:
    found = runtime_nodes(graph, folder / "ort.onnx")
    return Counter(
        {op: n for op, n in found.items() if op not in ("ReorderInput", "ReorderOutput")}
    )
