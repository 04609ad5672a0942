"""What operators compute at random points, against the cases that ship with onnx."""

from __future__ import annotations

from collections import Counter

import numpy as np

import planish
from planish.ir.core import dtypes
from planish.ir.proof.applications import Applications
from planish.ir.proof.operators import RULES, Call, Setting, results
from planish.ir.proof.operators.sequences import SequenceValues
from planish.ir.proof.residues import Primes
from planish.ir.proof.values import POINTS, UnsupportedError, constant

from tests.operator_cases import operator_cases


def _setting():
    random = np.random.default_rng(0)
    return Setting(Applications(random, 1e-9), Primes(random, POINTS), free=False)


def test_results_are_those_of_the_cases_of_onnx():
    """Where a rule computes numbers from constants, and does not leave the function open."""
    seen: Counter[str] = Counter()
    for case in operator_cases():
        if len(case.model.graph.node) != 1 or case.model.graph.node[0].op_type not in RULES:
            continue
        for op in _compared(case):
            seen[op] += 1
    missing = {op for op in RULES if op not in seen} - OPEN
    assert not missing, missing


# Their results are left open, are no tensors, or there is no case of plain floats or one node.
OPEN = {
    "Cast", "CastLike", "ConcatFromSequence", "GlobalMaxPool", "If", "LogSoftmax", "Loop",
    "MaxPool", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd",
    "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceLength", "Softmax", "SplitToSequence",
}  # fmt: skip


def _compared(case):
    graph = planish.load(case.model)
    (node,) = graph.nodes
    for feeds, expected in case.data_sets:
        given = dict(zip((t.name for t in graph.inputs), feeds, strict=True))
        try:
            values = [_value(t, given) for t in node.inputs]
            found = results(Call(node, values, int(graph.opset), _setting()))
        except UnsupportedError:
            continue
        for value, wanted in zip(found, expected, strict=False):
            if not value.is_fixed or isinstance(value, SequenceValues):
                continue
            assert value.shape == np.shape(wanted), case.name
            assert value.dtype == np.asarray(wanted).dtype, case.name
            tolerance = 1e-2 if dtypes.is_half(value.dtype) else 1e-5
            held = value.array[0].astype(np.asarray(wanted).dtype)
            np.testing.assert_allclose(held, wanted, tolerance, tolerance, err_msg=case.name)
            yield str(node.op)


def _value(tensor, given):
    if not tensor.name:
        return None
    held = given.get(tensor.name)
    if held is None or not isinstance(held, np.ndarray):
        raise UnsupportedError("no tensor")
    return constant(held)
