"""Activations of fused operators: what their attributes and inputs are at an opset."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.ops.fused.activations import ACTIVATION_OPS, activation_by_suffix
from planish.ir.ops.fused.operators import pool_of, read_fused
from planish.ir.ops.traits.recognized import FusedName, read_name


@pytest.mark.parametrize(
    ("name", "opset", "defaults"),
    [
        ("Relu", 1, {}),
        ("LeakyRelu", 13, {"alpha": 0.01}),
        ("Elu", 6, {"alpha": 1}),
        ("HardSigmoid", 6, {"alpha": 0.2, "beta": 0.5}),
        ("GatedHardSigmoid", 13, {"alpha": 0.2, "beta": 0.5}),
        ("Selu", 1, {"alpha": 1.6732, "gamma": 1.0507}),
        ("Selu", 6, {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323}),
        ("Gelu", 20, {"approximate": "none"}),
        ("Swish", 24, {"alpha": 1}),
        ("Clip", 1, {"max": np.finfo(np.float32).max, "min": np.finfo(np.float32).min}),
        ("Clip", 10, {"max": np.finfo(np.float32).max, "min": np.finfo(np.float32).min}),
        ("Clip", 11, {}),
        ("Silu", 20, {}),
    ],
)
def test_attributes_have_the_defaults_of_the_opset(name, opset, defaults):
    found = dict(activation_by_suffix(name, opset).defaults)
    assert list(found) == sorted(defaults)
    assert found == {
        key: value if isinstance(value, str) else np.float32(value)
        for key, value in defaults.items()
    }


def test_parameters_that_are_inputs():
    assert activation_by_suffix("PRelu", 13).operands == ("slope",)
    assert activation_by_suffix("Clip", 13).operands == ("min", "max")
    assert activation_by_suffix("Clip", 10).operands == ()


@pytest.mark.parametrize(
    ("name", "opset", "steps"),
    [
        ("HardSwish", 13, 2),
        ("HardSwish", 14, 1),
        ("Gelu", 19, 5),
        ("Gelu", 20, 1),
        ("Mish", 13, 7),
        ("Mish", 22, 7),
        ("Silu", 22, 2),
    ],
)
def test_functions_are_those_that_the_opset_has_no_operator_for(name, opset, steps):
    assert len(activation_by_suffix(name, opset).steps) == steps


def test_what_is_no_activation():
    assert activation_by_suffix("Abs", 20) is None
    assert activation_by_suffix("Swish", 20) is None
    assert {"Relu", "Mul", "Silu", "Mish", "Clip"} <= ACTIVATION_OPS
    assert "GatedHardSigmoid" not in ACTIVATION_OPS


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Conv", ("Conv", False, "", "")),
        ("ConvTransposeAddSilu", ("ConvTranspose", True, "Silu", "")),
        ("ConvClipGlobalMaxPool", ("Conv", False, "Clip", "GlobalMaxPool")),
        ("ConvAddMaxPool", ("Conv", True, "", "MaxPool")),
        ("GemmGelu", ("Gemm", False, "Gelu", "")),
    ],
)
def test_the_parts_of_a_name(name, parts):
    assert read_name(name) == FusedName(*parts)
    fused = read_fused(name, 20)
    assert fused.name == name
    assert read_name("Silu") is None


@pytest.mark.parametrize(
    ("op", "opset", "later"),
    [
        ("MaxPool", 8, []),
        ("MaxPool", 10, ["ceil_mode", "dilations"]),
        ("AveragePool", 9, ["count_include_pad"]),
        ("AveragePool", 10, ["ceil_mode", "count_include_pad"]),
        ("AveragePool", 19, ["ceil_mode", "dilations", "count_include_pad"]),
    ],
)
def test_a_pooling_has_the_attributes_of_the_opset(op, opset, later):
    names = [name for name, _ in pool_of(op, opset).attributes]
    assert names == ["kernel_shape", "pads", "strides", *later]


def test_a_global_pooling_has_none():
    assert pool_of("GlobalMaxPool", 20).attributes == ()
    assert pool_of("LpPool", 20) is None
