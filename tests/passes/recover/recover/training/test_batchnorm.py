"""Statistics of batch normalizations, against those of torch."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import nn

import planish
from planish.passes.recover.recover.training.batchnorm import reestimate, training_batchnorm

from tests.helpers import graph_of
from tests.passes.recover.recover.small import chain, normal


def test_statistics_are_those_of_torch_with_cumulative_average() -> None:
    text = """g (float[N, 3, 5, 5] x) => (float[] y) {
        c = Conv (x, w) y = BatchNormalization (c, s, b, m, v)
    }"""
    held = {"w": normal(0, 4, 3, 3, 3), "s": normal(1, 4), "b": normal(2, 4)}
    held |= {"m": normal(3, 4), "v": np.abs(normal(4, 4)) + np.float32(0.1)}
    module = planish.to_fx(graph_of(text, held))
    batches = [torch.tensor(normal(seed, 6, 3, 5, 5) * (1 + seed)) for seed in range(4)]

    def passes() -> None:
        for batch in batches:
            module(batch)

    assert reestimate(module, passes)
    conv = nn.Conv2d(3, 4, 3, bias=False)
    own = nn.Sequential(conv, nn.BatchNorm2d(4, momentum=None)).train()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(held["w"]))
        means = [conv(batch).mean((0, 2, 3)) for batch in batches]
        for batch in batches:
            own(batch)
    found = planish.from_fx(module)
    values = {t.name: t.values for n in found.nodes for t in n.inputs if isinstance(t, gs.Constant)}
    np.testing.assert_allclose(values["m"], own[1].running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values["v"], own[1].running_var, rtol=1e-5)
    np.testing.assert_allclose(values["m"], torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(values["s"], held["s"])
    assert not any(part.training for part in module.modules())
    assert not reestimate(planish.to_fx(chain(1)), lambda: None)


def test_statistics_that_nothing_was_seen_of_stay() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(2)
    reestimate(norm.eval(), lambda: None)
    assert norm.running_mean.tolist() == [2, 2, 2]
    assert norm.momentum == 0.1
    with training_batchnorm(norm, True):
        assert norm.training
    assert not norm.training
