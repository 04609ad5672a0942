"""Random graphs through the TVM backend: what ONNX Runtime computes, and nothing else."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.strategies.random_graphs import Drawn
from tests.strategies.random_graphs.evaluate import run_session, session_of
from tests.strategies.tvm import compiled_graphs, draw_graph
from tests.sweep.compiled import Way, check_compiled
from tests.sweep.subjects import fault_of

pytest.importorskip("tvm")


def check(drawn: Drawn, way: Way) -> None:
    found = check_compiled(drawn, way)
    assert (found.fault, found.refused) == (None, "")


@settings(max_examples=examples(10))
@given(drawn=compiled_graphs(most_steps=3))
def test_small_graphs_are_right(drawn) -> None:
    check(drawn, Way())


@pytest.mark.usefixtures("optimized")
def test_small_graphs_are_right_in_every_way() -> None:
    faults = {number: fault_of("tvm", number)[1] for number in range(12)}
    assert {n: r for n, r in faults.items() if r.fault or r.refused} == {}
    ways = [Way.of(number) for number in range(12)]
    assert {way.threads for way in ways} == {1, 2}
    assert {way.apart for way in ways} == {False, True}
    assert len({way.isa for way in ways}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=examples(300))
@given(drawn=compiled_graphs())
def test_many_small_graphs_are_right(threads, drawn) -> None:
    check(drawn, Way(threads=threads))


def test_seeds_draw_again_and_every_kind_of_output_comes_up() -> None:
    models = [drawn.model for n in range(300) if (drawn := draw_graph(Random(f"tvm {n}")))]
    again = [drawn.model for n in range(9) if (drawn := draw_graph(Random(f"tvm {n}")))]
    assert again == models[: len(again)]
    assert len(models) > 250
    ends = [_kinds_of_outputs(model.graph) for model in models]
    assert set.union(*ends) == {"several", "input", "constant", "read", "bool", "int64", "float"}


def _kinds_of_outputs(graph: onnx.GraphProto) -> set[str]:
    names = {output.name for output in graph.output}
    types = {1: "float", 7: "int64", 9: "bool"}
    return {
        *({"several"} if len(names) > 1 else ()),
        *({"input"} if names & {value.name for value in graph.input} else ()),
        *({"constant"} if names & {value.name for value in graph.initializer} else ()),
        *({"read"} if names & {name for node in graph.node for name in node.input} else ()),
        *(types[kind] for o in graph.output if (kind := o.type.tensor_type.elem_type) in types),
    }


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(("other", "kind"), [("Cos", "floats"), ("Shape", "type")])
def test_a_wrong_result_is_a_fault(monkeypatch, other, kind) -> None:
    drawn, swapped = _sine("Sin"), planish.load(_sine(other).model)
    lower = planish.lower
    monkeypatch.setattr(planish, "lower", lambda _, *how: lower(swapped, *how))
    found = check_compiled(drawn)
    assert found.fault is not None
    assert found.fault.kind == kind


def test_rounding_is_no_fault() -> None:
    assert check_compiled(_sine("Sin")).fault is None


def _sine(op: str) -> Drawn:
    text = '<ir_version: 10, opset_import: ["" : 20]> g (float[3, 4] x) => (y) {y = OP(x)}'
    model = onnx.parser.parse_model(text.replace("OP", op))
    return Drawn(model=model, feeds=[{"x": X}], outputs=[run_session(session_of(model), {"x": X})])
