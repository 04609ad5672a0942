"""Models as text: what is written is read back by ONNX's own parser to the same model."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planish.ir.core.errors import GraphError, LoadError
from planish.ir.files.text import model_from_text, model_to_text

EVERYTHING = """<ir_version: 9, opset_import: ["" : 20, "local" : 2]>
g (float x, seq(float[N]) s, bool c, float[] u, double[2, ?] d) => (float[N, M] y)
<
   float[2] w = {0.1, -1e-07},
   int64[0] none = {},
   bool[2] b = {1, 0},
   string[2] names = {"a \\"b\\"", "c, d"},
   uint8 z = {255}
>
{
   [first] y = If <then_branch = t () => (float[N] a)
   <
      float k = {2}
   >
   {
      a = Mul (x, k)
   }, else_branch = e () => (float e)
   {
      e = Constant <value = float {3.5}> ()
   }> (c)
   "", "z/1" = Split (x)
   q = Constant <value_strings = ["a", "b"]> ()
   r = local.Twice <f = 1.0, g = [0.5, 2.0], i = -3, n: ints = []> (x, "", q)
}
<domain: "local", opset_import: ["" : 20]>
Twice <f> (a) => (b)
{
   c = Constant <value_float: float = @f> ()
   b = Mul (a, c)
}
"""


def test_text_is_read_back_to_the_same_model():
    model = onnx.parser.parse_model(EVERYTHING)
    assert model_to_text(model) == EVERYTHING
    assert model_from_text(EVERYTHING) == model


def test_what_onnx_prints_says_the_same():
    model = onnx.parser.parse_model(EVERYTHING)
    printed = onnx.parser.parse_model(onnx.printer.to_text(model))
    assert model_to_text(printed) == EVERYTHING


def test_a_usual_header_is_left_out():
    text = "g (float[N] x) => (float[N] y)\n{\n   y = Relu (x)\n}\n"
    model = model_from_text(text)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    assert model_to_text(model) == text
    model.ir_version = 9
    assert model_to_text(model) == '<ir_version: 9, opset_import: ["" : 21]>\n' + text


def test_weights_in_raw_bytes_are_written_out():
    model = model_from_text("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    kinds = {"f": np.float32, "h": np.float16, "d": np.float64, "i": np.int8, "b": np.bool_}
    for name, kind in kinds.items():
        tensor = numpy_helper.from_array(np.array([0, 1], kind), name)
        assert tensor.raw_data
        model.graph.initializer.append(tensor)
    four = helper.make_tensor("q", TensorProto.INT4, [3], [-8, 7, 1])
    model.graph.initializer.append(four)
    lines = [line.strip(" ,") for line in model_to_text(model).splitlines()]
    for name in ("float[2] f", "float16[2] h", "double[2] d", "int8[2] i", "bool[2] b"):
        assert f"{name} = {{0, 1}}" in lines
    assert "int4[3] q = {-8, 7, 1}" in lines


def test_digits_are_as_many_as_asked():
    model = model_from_text(
        "g (float[1] x) => (float[1] y) <float[2] w = {0.333333343, 1e-8}>"
        "{ y = Elu <alpha = 0.666666666> (x) }"
    )
    assert "{0.33333334, 1e-08}" in model_to_text(model)
    assert "{0.333, 1e-08}" in model_to_text(model, digits=3)
    assert "alpha = 0.667" in model_to_text(model, digits=3)


def test_numbers_that_are_none_are_read_back():
    model = model_from_text(
        "g (float[1] x) => (float[1] y) <float[3] w = {inf, -inf, nan}> { y = Relu (x) }"
    )
    assert "{inf, -inf, nan}" in model_to_text(model)
    again = numpy_helper.to_array(model_from_text(model_to_text(model)).graph.initializer[0])
    np.testing.assert_array_equal(again, np.float32([np.inf, -np.inf, np.nan]))


def test_long_lines_are_broken_and_read_back():
    values = ", ".join(["127"] * 60)
    text = f"g (int64[60] x) => (int64[60] y) <int64[60] w = {{{values}}}> {{ y = Add (x, w) }}"
    written = model_to_text(model_from_text(text))
    assert max(map(len, written.splitlines())) <= 100
    assert model_from_text(written) == model_from_text(text)


def test_a_network_is_too_large_for_text():
    model = model_from_text("g (float[1] x) => (float[1] y) { y = Relu (x) }")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4097, np.float32), "large"))
    with pytest.raises(GraphError, match="'large' has 4097 elements"):
        model_to_text(model)


def test_text_that_is_no_model_is_refused():
    with pytest.raises(LoadError, match="is no model"):
        model_from_text("g (float[1] x) => (float[1] y) { y = Relu x }")
