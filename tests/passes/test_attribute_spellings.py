"""An attribute left out, one that states its default, and an empty list say the same.

Every operator case that ships with onnx is spelled in these ways, alone, in a local function, and
where passes have something to do: other inputs constant, between Transposes, scales and shifts.
What ONNX Runtime computes of a spelling without its optimizations, it computes after `exact`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper, numpy_helper

import planish

from tests.helpers import run_ort
from tests.operator_cases import operator_cases

EXACT = planish.Pipeline.parse("exact")
_EMPTY = {AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS}
# Whose results differ from run to run, or that runtimes round as they like.
_DRAWS = ("Random", "Bernoulli", "Multinomial", "Dropout")


def _schema(node: onnx.NodeProto, opset: int) -> Any:
    return onnx.defs.get_schema(node.op_type, opset, "")


def _is_default(attribute: AttributeProto, schema: Any) -> bool:
    declared = schema.attributes.get(attribute.name)
    if declared is None or declared.default_value.type == AttributeProto.UNDEFINED:
        return False
    given, default = map(helper.get_attribute_value, (attribute, declared.default_value))
    return bool(given == default)


def _absent(node: onnx.NodeProto, opset: int) -> None:
    """Leave out what states its default."""
    schema = _schema(node, opset)
    kept = [a for a in node.attribute if not _is_default(a, schema)]
    del node.attribute[:]
    node.attribute.extend(kept)


def _stated(node: onnx.NodeProto, opset: int) -> None:
    """State every default."""
    given = {a.name for a in node.attribute}
    for name, declared in _schema(node, opset).attributes.items():
        if name not in given and declared.default_value.type != AttributeProto.UNDEFINED:
            node.attribute.add().CopyFrom(declared.default_value)
            node.attribute[-1].name = name


def _empty(node: onnx.NodeProto, opset: int) -> None:
    """Spell out every optional list that has no default, without an element."""
    given = {a.name for a in node.attribute}
    for name, declared in _schema(node, opset).attributes.items():
        kind, default = int(declared.type), declared.default_value.type
        if name in given or declared.required or default != AttributeProto.UNDEFINED:
            continue
        if kind in _EMPTY:
            node.attribute.add(name=name, type=kind)


SPELLINGS: dict[str, Callable[[onnx.NodeProto, int], None]] = {
    "absent": _absent,
    "stated": _stated,
    "empty": _empty,
}


def _alone(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    return model


def _in_function(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """Put the node into a local function, called once."""
    node = model.graph.node[0]
    ports = [*filter(None, node.input)], [*filter(None, node.output)]
    function = helper.make_function("own", "Call", *ports, [node], model.opset_import)
    made = copy.deepcopy(model)
    del made.graph.node[:]
    made.graph.node.append(helper.make_node("Call", *ports, domain="own"))
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.ir_version = max(made.ir_version, 8)
    return made


def _at_work(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto | None:
    """Make all inputs but the first constant, and put maps and Transposes around the node."""
    first, result = inputs[0] if inputs else None, model.graph.output[0].type.tensor_type
    usual = isinstance(first, np.ndarray) and first.dtype.kind in "fiub" and first.ndim > 1
    if not usual or any(not isinstance(each, np.ndarray) for each in inputs):
        return None
    made = copy.deepcopy(model)
    graph, node = made.graph, made.graph.node[0]
    x, y = node.input[0], node.output[0]
    for value, array in list(zip(graph.input, inputs, strict=True))[1:]:
        graph.initializer.append(numpy_helper.from_array(array, value.name))
        graph.input.remove(value)
    order = _to_last(first.ndim)
    back = [order.index(axis) for axis in range(first.ndim)]
    _permute(graph.input[0], first.shape, order)
    nodes = [helper.make_node("Transpose", [x], ["moved_"], perm=back), node]
    if first.dtype == np.float32:
        nodes.insert(0, helper.make_node("Mul", [x, "factor_"], ["scaled_"]))
        nodes[1].input[0] = "scaled_"
        graph.initializer.append(numpy_helper.from_array(np.array(1.5, np.float32), "factor_"))
    node.input[0], node.output[0], last = "moved_", "raw_", "raw_"
    if result.elem_type == onnx.TensorProto.FLOAT:
        nodes.append(helper.make_node("Add", [last, "shift_"], ["shifted_"]))
        graph.initializer.append(numpy_helper.from_array(np.array(0.25, np.float32), "shift_"))
        last = "shifted_"
    shape = [dim.dim_value for dim in result.shape.dim]
    if len(shape) == first.ndim:
        nodes.append(helper.make_node("Transpose", [last], [y], perm=order))
        _permute(graph.output[0], shape, order)
    else:
        nodes.append(helper.make_node("Identity", [last], [y]))
    copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return made


def _to_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1] if rank > 2 else [1, 0]


def _permute(value: onnx.ValueInfoProto, shape: Sequence[int], order: list[int]) -> None:
    """State the permuted shape of `value`."""
    stated = value.type.tensor_type.shape.dim
    del stated[:]
    for axis in order:
        stated.add().dim_value = shape[axis]


PLACES = {"alone": _alone, "in a function": _in_function, "at work": _at_work}


def _cases() -> list[tuple[str, onnx.ModelProto, list[Any]]]:
    """Return name, model and inputs of the cases of one standard node."""
    found = []
    for case in operator_cases():
        nodes, opsets = case.model.graph.node, case.model.opset_import
        plain = len(nodes) == 1 and len(opsets) == 1 and not nodes[0].domain and case.data_sets
        bodies = any(a.HasField("g") or a.graphs for n in nodes for a in n.attribute)
        if plain and not bodies and not nodes[0].op_type.startswith(_DRAWS):
            found.append((case.name, case.model, list(case.data_sets[0][0])))
    return found


def _first_of_each(cases: list[tuple[str, onnx.ModelProto, list[Any]]]) -> Iterator[Any]:
    """Yield the first case of each operator whose attributes have the same names."""
    seen = set()
    for case in cases:
        node = case[1].graph.node[0]
        kind = (node.op_type, *sorted(a.name for a in node.attribute))
        if kind not in seen:
            seen.add(kind)
            yield case


def _spelled(model: onnx.ModelProto, spelling: str) -> onnx.ModelProto:
    made = copy.deepcopy(model)
    SPELLINGS[spelling](made.graph.node[0], made.opset_import[0].version)
    return made


def _run(model: onnx.ModelProto, inputs: list[Any]) -> dict[str, Any]:
    names = [value.name for value in model.graph.input]
    return run_ort(model, dict(zip(names, inputs, strict=False)))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind not in "fV":
        return bool(np.array_equal(a, b))
    near = 1e-3 if a.itemsize < 4 else 1e-5
    a, b = (each.astype(np.float64) for each in (a, b))
    return bool(np.allclose(a, b, near, near, equal_nan=True))


def _fault(model: onnx.ModelProto, inputs: list[Any]) -> str | None:
    """Return what is wrong after `exact`; None where nothing is, or the runtime refuses `model`."""
    try:
        expected = _run(model, inputs)
    except Exception:
        return None
    result = EXACT.run(planish.load(model), verify="off")
    try:
        found = _run(planish.to_model(result.graph), inputs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None if all(_same(found[name], expected[name]) for name in expected) else "wrong result"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("which", ["few", pytest.param("all", marks=pytest.mark.slow)])
def test_all_spellings_compute_the_same(which, place):
    cases = _cases()
    if which == "few":
        cases = list(_first_of_each(cases))
        # What a function is written out to is what stands alone.
        cases = cases[::3] if place == "in a function" else cases
    faults, ran = [], 0
    for name, model, inputs in cases:
        given = list(model.graph.node[0].attribute)
        for spelling in SPELLINGS:
            spelled = _spelled(model, spelling)
            if list(spelled.graph.node[0].attribute) == given:
                continue
            placed = PLACES[place](spelled, inputs)
            if placed is None:
                continue
            if place == "at work":
                order = _to_last(inputs[0].ndim)
                feeds = [np.ascontiguousarray(inputs[0].transpose(order))]
            else:
                feeds = inputs
            fault = _fault(placed, feeds)
            ran += 1
            if fault is not None:
                faults.append((name, spelling, fault))
    assert not faults
    assert ran > 60
