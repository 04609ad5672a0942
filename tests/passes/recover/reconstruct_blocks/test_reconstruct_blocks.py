"""Blocks of integers come nearer to the float network; all else stays as it was."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import FeedError, PlanishError
from planish.ir.graph.clone import clone
from planish.ir.run.reference import Reference

from tests.helpers import graph_of, ops
from tests.passes.recover.recover.small import TRAINED, data, feeds, teacher, weights

Array = np.ndarray[Any, Any]

QUANTIZE = "simplify,quantize{weights=int4,measure=false,guard=off}"
SAMPLES = 32


def run(pipeline: str, graph: gs.Graph | None = None, seed: int = 0) -> planish.Result:
    """Return what the pipeline makes of `graph`, the trained one by default, on some samples."""
    samples = feeds(SAMPLES, batch=8)
    return planish.Pipeline.parse(pipeline).run(
        teacher() if graph is None else graph, samples, verify="off", seed=seed
    )


@functools.cache
def quantized() -> gs.Graph:
    """Return the network with weights of 4 bits, rounded to nearest."""
    return run(QUANTIZE).graph


@functools.cache
def learned(options: str = "steps=200,learning-rate=0.05") -> planish.Result:
    """Return the same with its blocks reconstructed."""
    return run(f"{QUANTIZE},reconstruct-blocks{{{options}}}")


def decibels(graph: gs.Graph) -> float:
    """Return the SQNR of `graph` on samples that nothing was learned from."""
    images = {teacher().inputs[0].name: data()[0][TRAINED:]}
    wanted, found = (next(iter(Reference(g)(images).values())) for g in (teacher(), graph))
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - found).sum()))


def test_outputs_come_nearer_to_those_of_the_float_network() -> None:
    print(decibels(quantized()), decibels(learned().graph), learned().records[-1].remarks)
    assert decibels(learned().graph) >= decibels(quantized()) + 2
