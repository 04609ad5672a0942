"""Each operand of an operator counts: with another tensor in its place nothing is proved."""

from __future__ import annotations

import onnx
import pytest

import planish
from planish.passes.trust.prove.certify import Origin, certify

F, N, I4 = "float[1,4,6]", "float", "float[4]"

# An operator, and its operands: type and name, nothing where one is left out.
NODES = [
    ("Clip", [(F, "x"), (N, "lo"), (N, "hi")]),
    ("Clip", [(F, "x"), (N, "lo")]),
    ("Clip", [(F, "x"), None, (N, "hi")]),
    ("PRelu", [(F, "x"), (F, "slope")]),
    ("Where", [("bool[1,4,6]", "c"), (F, "a"), (F, "b")]),
    ("Max", [(F, "a"), (F, "b"), (F, "c")]),
    ("Mean", [(F, "a"), (F, "b"), (F, "c")]),
    ("Pow", [(F, "x"), (F, "p")]),
    ("Mod<fmod=1>", [(F, "a"), (F, "b")]),
    ("Less", [(F, "a"), (F, "b")]),
    ("BatchNormalization", [(F, "x"), (I4, "s"), (I4, "b"), (I4, "m"), (I4, "v")]),
    ("InstanceNormalization", [(F, "x"), (I4, "s"), (I4, "b")]),
    ("LayerNormalization<axis=1>", [(F, "x"), ("float[4,6]", "s"), ("float[4,6]", "b")]),
    ("GroupNormalization<num_groups=2>", [(F, "x"), (I4, "s"), (I4, "b")]),
    ("Conv", [(F, "x"), ("float[2,4,3]", "w"), ("float[2]", "b")]),
    ("ConvTranspose", [(F, "x"), ("float[4,2,3]", "w"), ("float[2]", "b")]),
    ("Gemm", [("float[3,4]", "a"), ("float[4,5]", "b"), ("float[3,5]", "c")]),
    ("QuantizeLinear", [(F, "x"), (N, "s"), ("uint8", "z")]),
    ("DequantizeLinear", [("uint8[1,4,6]", "x"), (N, "s"), ("uint8", "z")]),
    ("GridSample", [("float[1,2,4,4]", "x"), ("float[1,3,3,2]", "g")]),
    ("Einsum<equation='ij,jk->ik'>", [("float[3,4]", "a"), ("float[4,5]", "b")]),
]
RESULTS = {"Less": "bool", "QuantizeLinear": "uint8"}
CASES = [
    (op, operands, place)
    for op, operands in NODES
    for place, operand in enumerate(operands)
    if operand is not None
]


def _graph(op, operands, place, name):
    """Return the node with `name` in `place`; both graphs have all operands and one more."""
    ports = [f"{kind} {own}" for kind, own in filter(None, operands)]
    ports.append(f"{operands[place][0]} other")
    read = ["" if each is None else each[1] for each in operands]
    read[place] = name
    result = RESULTS.get(op.partition("<")[0], "float")
    node, _, attributes = op.partition("<")
    call = f"{node}{'<' + attributes if attributes else ''}({', '.join(read)})".replace("'", '"')
    text = f"g ({', '.join(ports)}) => ({result}[] y) {{ y = {call} }}"
    return planish.load(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> {text}'))


@pytest.mark.parametrize(
    ("op", "operands", "place"), CASES, ids=[f"{op}-{place}" for op, _, place in CASES]
)
def test_another_operand_is_another_result(op, operands, place):
    before, after = (_graph(op, operands, place, name) for name in (operands[place][1], "other"))
    found = certify(before, after, Origin(before, planish.clone(before)), [])
    assert found.open_outputs


def test_an_operand_in_another_place_is_another_result():
    low, high = (
        _graph("Clip", operands, 0, "x")
        for operands in ([(F, "x"), (N, "k")], [(F, "x"), None, (N, "k")])
    )
    assert certify(low, high, Origin(low, planish.clone(low)), []).open_outputs
