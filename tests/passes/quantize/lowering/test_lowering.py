"""Rewrites for integer kernels: exact, and left alone where they would cost more."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import (
    assert_left_alone,
    assert_same_function,
    model_of,
    ops,
    reasons,
    relative_error,
    run_ort,
    run_pass,
)
from tests.strategies import networks

RNG = np.random.default_rng(9)
QUANTIZE = "quantize{measure=false}"


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def network(body, weights, shape="N, 3, 20, 20", opset=18):
    used = {k: v for k, v in weights.items() if k in body.replace(",", " ").replace(")", " ")}
    text = f"""<ir_version: 9, opset_import: ["" : {opset}]>
    g (float[{shape}] x) => (float[] y) {{ {body} }}"""
    return model_of(text, used)


def rewritten(model, pipeline, expected, shape=(2, 3, 20, 20)):
    result = run_pass(planish.load(model), pipeline)
    assert ops(result.graph) == expected
    assert_same_function(model, result.graph, {"x": normal(*shape)}, tolerance=1e-6)
    return result


class TestAlignChannels:
    def test_the_image_gets_a_fourth_channel(self):
        model = network("y = Conv(x, w, b)", {"w": normal(8, 3, 3, 3), "b": normal(8)})
        graph = rewritten(model, "align-channels", ["Pad", "Conv"]).graph
        assert graph.nodes[1].inputs[1].shape == (8, 4, 3, 3)

    def test_outputs_are_computed_by_four_and_cut_behind_the_relu(self):
        weights = {"w": normal(8, 3, 1, 1), "v": normal(6, 8, 1, 1), "c": normal(6)}
        model = network("a = Conv(x, w) d = Conv(a, v, c) r = Relu(d) y = Neg(r)", weights)
        expected = ["Pad", "Conv", "Conv", "Relu", "Slice", "Neg"]
        graph = rewritten(model, "align-channels", expected).graph
        assert graph.nodes[2].inputs[1].shape == (8, 8, 1, 1)

    def test_a_relu_with_other_readers_stays_behind_the_slice(self):
        body = "a = Conv(x, w) r = Relu(a) s = Sigmoid(a) y = Add(r, s)"
        model = network(body, {"w": normal(6, 3, 1, 1)})
        expected = ["Pad", "Conv", "Slice", "Relu", "Sigmoid", "Add"]
        rewritten(model, "align-channels", expected)

    def test_channels_that_another_operator_made_are_not_padded(self):
        model = network("s = Sigmoid(x) y = Conv(s, w)", {"w": normal(8, 3, 3, 3)})
        assert_left_alone(model, "align-channels", None)

    def test_a_single_position_is_left_alone(self):
        model = network("y = Conv(x, w)", {"w": normal(8, 3, 3, 3)}, shape="N, 3, 3, 3")
        assert_left_alone(model, "align-channels", "it makes only 1 positions")

    def test_groups_are_left_alone(self):
        model = network("y = Conv<group=3>(x, w)", {"w": normal(6, 1, 3, 3)})
        assert_left_alone(model, "align-channels", None)


class TestDepthToSpaceChannelsLast:
    STEPS = ("Transpose", "Reshape", "Transpose", "Reshape", "Transpose")

    @pytest.mark.parametrize("shape", ["N, 12, 4, 6", "2, 12, 4, 6"])
    def test_rows_of_channels_move(self, shape):
        model = network("y = DepthToSpace<blocksize=2>(x)", {}, shape=shape)
        pipeline = "depth-to-space-channels-last"
        rewritten(model, pipeline, list(self.STEPS), shape=(2, 12, 4, 6))

    def test_other_orders_and_open_sizes_stay(self):
        pipeline = "depth-to-space-channels-last"
        model = network('y = DepthToSpace<blocksize=2, mode="CRD">(x)', {}, shape="N, 12, 4, 6")
        reason = "its channels are not the inner part of the blocks (CRD)"
        assert_left_alone(model, pipeline, reason)
        model = network("y = DepthToSpace<blocksize=2>(x)", {}, shape="N, 12, H, 6")
        assert_left_alone(model, pipeline, "its sizes are not known")
        model = network("y = DepthToSpace<blocksize=2>(x)", {}, shape="N, 12, 0, 6")
        assert_left_alone(model, pipeline, "it has no elements")


class TestRaiseBounds:
    WEIGHTS: ClassVar = {
        "w": normal(8, 3, 1, 1),
        "v": normal(4, 3, 1, 1),
        "low": np.float32(0),
        "high": np.float32(6),
        "order": RNG.permutation(8),
        "shape": np.array([0, 8, -1]),
    }

    def test_through_movements(self):
        body = "c = Conv(x, w) g = Gather<axis=1>(c, order) r = Reshape(g, shape) y = Relu(r)"
        model = network(body, self.WEIGHTS)
        rewritten(model, "raise-bounds", ["Conv", "Relu", "Gather", "Reshape"])

    def test_a_clip_goes_to_every_part_of_a_concat(self):
        body = "c = Conv(x, w) d = Conv(x, v) j = Concat<axis=1>(c, d) y = Clip(j, low, high)"
        model = network(body, self.WEIGHTS)
        rewritten(model, "raise-bounds", ["Conv", "Conv", "Clip", "Clip", "Concat"])

    @pytest.mark.parametrize(
        "move",
        [
            'm = Resize <mode = "nearest"> (c, , scales)',
            "m = Tile(c, repeats)",
            "m = Expand(c, target)",
            "m = Slice(c, first, last)",
        ],
    )
    def test_through_what_takes_elements_or_repeats_them(self, move):
        sizes = {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "repeats": np.array([1, 1, 1, 2]),
            "target": np.array([1, 1, 1, 1]),
            "first": np.array([0, 2]),
            "last": np.array([1, 6]),
        }
        model = network(f"c = Conv(x, w) {move} y = Relu(m)", self.WEIGHTS | sizes)
        rewritten(model, "raise-bounds", ["Conv", "Relu", move.split()[2].split("(")[0]])

    @pytest.mark.parametrize(
        "move", ['m = Resize <mode = "linear"> (c, , scales)', "m = Pad(c, pads)"]
    )
    def test_not_through_what_makes_values(self, move):
        weights = self.WEIGHTS | {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        }
        model = network(f"c = Conv(x, w) {move} y = Relu(m)", weights)
        assert_left_alone(model, "raise-bounds", "")

    def test_one_tensor_twice_in_a_concat_stays(self):
        model = network("c = Conv(x, w) j = Concat<axis=1>(c, c) y = Relu(j)", self.WEIGHTS)
        assert_left_alone(model, "raise-bounds", "an input of Concat is read by others too")

    def test_what_others_read_or_does_not_saturate_stays(self):
        body = "c = Conv(x, w) t = Transpose(c) r = Relu(t) s = Neg(t) y = Add(r, s)"
        result = run_pass(planish.load(network(body, self.WEIGHTS)), "raise-bounds")
        assert reasons(result) == {"the result of Transpose is read as well"}
        body = "c = Conv(x, w) t = Transpose(c) r = Relu(t) s = Transpose(c) y = Add(r, s)"
        result = run_pass(planish.load(network(body, self.WEIGHTS)), "raise-bounds")
        assert reasons(result) == {"an input of Transpose is read by others too"}
        body = "c = Exp(x) t = Transpose(c) y = Relu(t)"
        result = run_pass(planish.load(network(body, self.WEIGHTS)), "raise-bounds")
        assert reasons(result) == {"Transpose moves what Exp made, which does not saturate"}
        assert result.edits == 0

    def test_what_stays_outside_is_the_input(self):
        result = run_pass(planish.load(network("t = Transpose(x) y = Relu(t)", {})), "raise-bounds")
        assert reasons(result) == {"Transpose moves what no operator made"}


LOWERINGS = (
    "lower-conv-transpose,depth-to-space-channels-last,raise-bounds,align-channels{fewest=1}"
)


@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(networks())
def test_random_networks_keep_their_function(case):
    result = run_pass(planish.load(case.model), LOWERINGS, verify="off")
    expected = run_ort(case.model, case.feeds)
    found = run_ort(planish.to_model(result.graph, portable=True), case.feeds)
    for name, array in expected.items():
        if np.isfinite(array).all():
            assert relative_error(array, found[name]) <= 1e-4, name


def upscaler():
    weights = {
        "w": normal(8, 3, 3, 3) / 5,
        "b": normal(8),
        "u": normal(8, 4, 4, 4) / 10,
        "c": normal(4),
        "v": normal(4, 4, 3, 3) / 6,
    }
    body = """a = Conv<pads=[1, 1, 1, 1]>(x, w, b) r = Relu(a)
        t = ConvTranspose<strides=[2, 2], pads=[1, 1, 1, 1]>(r, u, c) s = Relu(t)
        y = Conv(s, v)"""
    return network(body, weights, shape="1, 3, 20, 20")


def test_a_transposed_convolution_runs_on_integers(tmp_path):
    model = upscaler()
    result = run_pass(planish.load(model), QUANTIZE, feeds=[{"x": normal(1, 3, 20, 20)}])
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    proto = planish.to_model(result.graph)
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    executed = ops(planish.load(tmp_path / "optimized.onnx"))
    assert executed.count("QLinearConv") == 3
    assert executed.count("QuantizeLinear") == executed.count("DequantizeLinear") == 1
    assert not {"ConvTranspose", "Conv", "DepthToSpace", "Relu"} & set(executed)


def test_lowering_can_be_left_out():
    result = run_pass(
        planish.load(upscaler()),
        "quantize{measure=false,lower=false}",
        feeds=[{"x": normal(1, 3, 20, 20)}],
    )
    assert ops(result.graph).count("ConvTranspose") == 1
