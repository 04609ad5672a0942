"""Attention of other ranks than four, which the exporter refuses."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import planish

from tests.helpers import run_ort

SHAPES = ((5, 12), (2, 5, 12), (2, 3, 2, 5, 12), (2, 2, 1, 2, 5, 12))


class Attention(nn.Module):
    """Attention of three parts of each input, by position and by name, masked and not."""

    def forward(self, *inputs):
        found = []
        for x in inputs:
            q, k, v = x.chunk(3, dim=-1)
            mask = x[..., :1].transpose(-1, -2) > -1
            found.append(nn.functional.scaled_dot_product_attention(q, k, v, mask))
            found.append(nn.functional.scaled_dot_product_attention(query=q, key=k, value=v))
        return tuple(found)


def test_attention_of_any_rank_is_traced():
    """The batch of the third input stays open."""
    generator = np.random.default_rng(0)
    drawn = [generator.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    module = Attention().eval()
    open_batch = ((None, None, {0: torch.export.Dim("batch")}, None),)
    graph = planish.trace(module, tuple(map(torch.tensor, drawn)), dynamic_shapes=open_batch)
    drawn[2] = generator.standard_normal((4, *SHAPES[2][1:])).astype(np.float32)
    names = [tensor.name for tensor in graph.inputs]
    found = run_ort(planish.to_model(graph), dict(zip(names, drawn, strict=True)))
    wanted = module(*map(torch.tensor, drawn))
    for a, b in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-5)
