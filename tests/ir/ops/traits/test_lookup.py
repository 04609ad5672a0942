"""Asking the table of traits: by node, by name, by opset; what schemas say."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
import pytest

from planish.ir.core.variables import FUSED_DOMAIN
from planish.ir.ops.fused.bodies import activation_function
from planish.ir.ops.traits import (
    NOTHING,
    Integers,
    Monotone,
    attribute,
    default,
    operators_with,
    traits_of,
)

NEWEST = onnx.defs.onnx_opset_version()


def test_unknown_operators_have_no_traits():
    assert traits_of(gs.Node("Relu", domain="com.example"), NEWEST) is NOTHING
    assert traits_of(gs.Node("Unheard"), NEWEST) is NOTHING
    assert traits_of("HardSwish", 13) is NOTHING  # it came with opset 14
    assert traits_of("HardSwish", 14).unary
    assert not NOTHING.known
    assert NOTHING.data_of(3) == (0, 1, 2)


@pytest.mark.parametrize("domain", [None, "", "ai.onnx"])
def test_the_standard_domain_has_three_names(domain):
    assert traits_of(gs.Node("Relu", domain=domain), NEWEST).unary


def test_attributes_decide():
    leaky = gs.Node("LeakyRelu", attrs={"alpha": -1.0})
    assert traits_of("LeakyRelu", 16).monotone == Monotone.STRICTLY_INCREASING
    assert traits_of(leaky, 16).monotone == Monotone.UNKNOWN
    assert traits_of(gs.Node("LeakyRelu", attrs={"alpha": 0.0}), 16).monotone == Monotone.INCREASING
    assert traits_of(gs.Node("Gemm", attrs={"transB": 1}), 13).weighted.outputs == -2
    assert traits_of(gs.Node("Gemm"), 13).weighted.outputs == -1
    assert traits_of(gs.Node("Resize", attrs={"mode": b"linear"}), 13).resampling
    assert traits_of(gs.Node("Resize", attrs={"mode": "nearest"}), 13).moves


def test_the_opset_decides():
    assert traits_of("Add", 7).elementwise
    assert not traits_of("Add", 6).elementwise  # operands were broadcast by attributes
    assert traits_of("Relu", 13).integers == Integers.NONE
    assert traits_of("Relu", 14).integers == Integers.EXACT
    assert [traits_of("MaxPool", opset).since for opset in (7, 8, 9, 13)] == [1, 8, 8, 12]


def test_a_recognized_function_is_what_it_computes():
    silu = traits_of(gs.Node("Silu", domain=FUSED_DOMAIN), 13)
    assert silu == traits_of("Swish", NEWEST)
    for name in ("Silu", "HardSwish", "Mish", "Gelu", "GeluTanh"):
        assert activation_function(name, 13).domain == FUSED_DOMAIN  # there is one
        assert traits_of(gs.Node(name, domain=FUSED_DOMAIN), 9).unary
    assert traits_of(gs.Node("ConvTransposeAddReluMaxPool", domain=FUSED_DOMAIN), 9).low == 0
    assert traits_of(gs.Node("GemmTanh", domain=FUSED_DOMAIN), 9).high == 1
    assert traits_of(gs.Node("ConvTransposeSilu", domain=FUSED_DOMAIN), 9).layer == "ConvTranspose"
    assert traits_of(gs.Node("Unheard", domain=FUSED_DOMAIN), 9) is NOTHING


def test_operators_by_trait():
    assert operators_with(lambda t: t.softmax) == {"Softmax", "LogSoftmax", "Hardmax"}
    assert {"Silu", "Swish", "Celu"} <= operators_with(lambda t: t.unary)
    assert "Upsample" in operators_with(lambda t: t.moves)  # of an opset that is past


def test_defaults_are_those_of_the_schema():
    assert default("Softmax", "axis", 12) == 1
    assert default("Softmax", "axis", 13) == -1
    assert default("Pad", "mode", 13) == "constant"
    assert default("Conv", "kernel_shape", 13) is None
    node = gs.Node("Elu", attrs={"alpha": 0.5})
    assert attribute(node, "alpha", 13) == 0.5
    assert attribute(gs.Node("Elu"), "alpha", 13) == 1.0
    assert attribute(gs.Node("GeluTanh", domain=FUSED_DOMAIN), "approximate", 13) == "tanh"
    assert attribute(gs.Node("Elu", domain="com.example"), "alpha", 13) is None


def test_what_a_function_is_called_with_is_not_known_inside_it():
    reference = gs.Node.AttributeRef("slope", float)
    inside = traits_of(gs.Node("LeakyRelu", attrs={"alpha": reference}), 16)
    assert inside.known
    assert inside.pure
    assert not inside.unary


def test_a_fused_operator_does_not_promise_what_its_layer_does():
    fused = traits_of(gs.Node("ConvAddMaxPool", domain=FUSED_DOMAIN), 9)
    assert (fused.weighted, fused.nan, fused.data) == (None, False, None)
    assert fused.windowed
