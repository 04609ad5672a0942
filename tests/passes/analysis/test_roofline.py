"""The roofline: its arithmetic with given figures, and what is measured where none are."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import PlanishError
from planish.passes.analysis import roofline as module
from planish.passes.analysis.cost import GraphCost, NodeCost
from planish.passes.analysis.roofline import Machine, measure_machine, roofline

from tests.helpers import graph_of

MACHINE = Machine(peak=1e9, bandwidth=1e8)  # 10 FLOP/B at the ridge


def cost_of(*nodes):
    made = tuple(
        NodeCost(node=f"n{i}", op="Op", output_shape=None, macs=m, parameters=0, bytes_moved=b)
        for i, (m, b) in enumerate(nodes)
    )
    return GraphCost(nodes=made, macs=0, parameters=0, weight_bytes=0, bytes_moved=0, unknown=0)


@pytest.mark.parametrize(
    ("macs", "moved", "seconds", "bound"),
    [
        (1_000_000, 1000, 2e-3, "compute"),  # 2 MFLOP at 1 GFLOP/s
        (1000, 1_000_000, 1e-2, "memory"),  # 1 MB at 100 MB/s
        (5001, 1000, 2 * 5001 / 1e9, "compute"),
        (5000, 1000, 1e-5, "memory"),  # on the ridge both are the same
        (0, 300, 3e-6, "memory"),
        (0, 0, 0, "memory"),
        (None, 300, None, None),
        (300, None, None, None),
    ],
)
def test_one_node(macs, moved, seconds, bound):
    (node,) = roofline(cost_of((macs, moved)), MACHINE).nodes
    assert node.seconds == (None if seconds is None else pytest.approx(seconds))
    assert node.bound == bound


def test_shares_and_total_leave_out_what_is_unknown():
    found = roofline(cost_of((0, 300), (None, None), (0, 100)), MACHINE)
    assert found.seconds == pytest.approx(4e-6)
    assert [node.share for node in found.nodes] == [pytest.approx(0.75), None, pytest.approx(0.25)]
    assert MACHINE.ridge == 10
    assert [n.share for n in roofline(cost_of((None, None), (0, 0)), MACHINE).nodes] == [None, None]


def test_of_a_network_by_hand():
    text = "g (float[1,4,8,8] x) => (float[1,4,8,8] y) { c = Conv(x, w)\n y = Relu(c) }"
    graph = graph_of(text, {"w": np.zeros((4, 4, 1, 1), np.float32)})
    conv, relu = roofline(planish.cost(graph), Machine(1e9, 1e9)).nodes
    assert conv.seconds == pytest.approx(max(2 * 4 * 4 * 64, 4 * (2 * 4 * 64 + 16)) / 1e9)
    assert relu.seconds == pytest.approx(4 * 2 * 4 * 64 / 1e9)
    assert (conv.bound, relu.bound) == ("memory", "memory")
    assert roofline(planish.cost(graph), Machine(1e8, 1e9)).nodes[0].bound == "compute"


@pytest.mark.parametrize("figure", [0, -1, float("nan"), float("inf")])
def test_figures_that_no_machine_has_are_refused(figure):
    with pytest.raises(PlanishError, match="the machine's peak is"):
        roofline(cost_of((1, 1)), Machine(figure, 1))
    with pytest.raises(PlanishError, match="the machine's bandwidth is"):
        roofline(cost_of((1, 1)), Machine(1, figure))


def test_measures_only_what_is_not_given(monkeypatch):
    assert measure_machine(peak=3.0, bandwidth=4.0) == Machine(3.0, 4.0)
    monkeypatch.setattr(module, "_COPIED", 1 << 20)
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    found = measure_machine(1)
    # Any machine that runs this computes and copies between these.
    assert 1e8 < found.peak < 1e15
    assert 1e7 < found.bandwidth < 1e13
    assert measure_machine(1, peak=3.0).peak == 3
    assert measure_machine(1, bandwidth=4.0).bandwidth == 4
