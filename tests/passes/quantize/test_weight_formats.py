"""Passes that prepare weights for `quantize` put them on the grid that it will give them."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import RefusedError
from planish.ir.ops.quantization.nodes import DEQUANTIZE
from planish.passes.quantize.quantize.network_judge import NetworkJudge

from tests.helpers import graph_of
from tests.passes.quantize.rounding.small_network import TEXT, feeds_of, weights

SATURATING, EXACT = "cpu{isa=avx2}", "cpu{isa=avx512-vnni}"
ROUNDING = ["round-adaptively", "correct-bias"]
QUANTIZE = "quantize{measure=false,guard=off}"


def constants(graph):
    """The values of the constants of `graph`, in order of nodes."""
    return [t.values for n in graph.nodes for t in n.inputs if hasattr(t, "values")]


def run(pipeline, target=EXACT):
    graph = graph_of(TEXT, weights())
    return (
        planish.Pipeline.parse(pipeline).run(graph, feeds_of(), verify="off", target=target).graph
    )


def assert_same(one, other):
    for a, b in zip(constants(one), constants(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("target", "reduce", "like"), [(EXACT, "true", SATURATING), (SATURATING, "false", EXACT)]
)
def test_an_option_of_the_preset_is_one_of_all_its_passes(target, reduce, like):
    options = "measure=false,guard=off"
    asked = run(f"int8{{{options},reduce-range={reduce}}}", target)
    assert_same(asked, run(f"int8{{{options}}}", like))


@pytest.mark.parametrize("name", ROUNDING)
@pytest.mark.parametrize(
    ("option", "bits"), [("weights=int4", 4), ("weights=uint8,reduce-range=true", 7)]
)
def test_formats_say_how_many_bits(name, option, bits):
    assert_same(run(f"{name}{{{option}}}"), run(f"{name}{{bits={bits}}}"))
    assert_same(run(f"{name}{{{option},bits=5}}"), run(f"{name}{{bits=5}}"))


def test_equalizing_reads_them_too():
    def scaled(option):
        return run(f"equalize-ranges{{per-channel=false,{option}}}")

    assert_same(scaled("weights=int4"), scaled("weight-bits=4"))
    assert_same(scaled("reduce-range=true"), scaled("weight-bits=7"))


@pytest.mark.parametrize("name", [*ROUNDING, "equalize-ranges"])
def test_what_is_no_format_is_refused(name):
    with pytest.raises(RefusedError, match="weights is 'int99'"):
        run(f"{name}{{weights=int99}}")


def test_int4_of_the_preset_keeps_the_rounded_integers():
    """Nothing is rounded a second time: the weights are those of the pass for 4 bits, exactly."""
    rounded = run("round-adaptively{bits=4}")
    kept = run("round-adaptively{weights=int4},quantize{weights=int4,measure=false,guard=off}")
    found = [
        node.inputs[0].values.astype(np.float32)
        * node.inputs[1].values.reshape(-1, *[1] * (node.inputs[0].values.ndim - 1))
        for node in kept.nodes
        if node.op == DEQUANTIZE
        and hasattr(node.inputs[0], "values")
        and node.inputs[0].values.ndim == 4
    ]
    wanted = [w for w in constants(rounded) if w.ndim == 4]
    assert len(found) == len(wanted) == 3
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_rounding_does_not_change_which_ranges_the_network_takes(monkeypatch):
    """The judge sees the weights as they were: luck of their rounding decides nothing."""
    seen = []

    def spied(self, choices):
        seen.append([v for v in constants(self.graph) if v.ndim == 4])
        return len(choices) - 1

    monkeypatch.setattr(NetworkJudge, "__call__", spied)
    run(QUANTIZE)
    run(f"round-adaptively,{QUANTIZE}")
    assert len(seen) == 2
    for a, b in zip(*seen, strict=True):
        np.testing.assert_array_equal(a, b)
