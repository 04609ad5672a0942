"""Weights of another model: what matches by name, shape, kind and place, and what is told of it."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import PassError, PipelineError
from planish.passes.transfer.transfer_weights import transfer_weights

from tests.helpers import model_using, ops, relative_error, run_ort, run_pass

BODY = """a = Conv <pads = [1, 1, 1, 1]> (x, conv_w, conv_b)
    n = BatchNormalization (a, bn_s, bn_b, bn_m, bn_v) r = Relu (n)
    p = GlobalAveragePool (r) f = Flatten (p) y = Gemm <transB = 1> (f, fc_w, fc_b)"""
IMAGE = "float[N, 3, 6, 6] x"
X = np.random.default_rng(9).standard_normal((2, 3, 6, 6)).astype(np.float32)


def weights(seed, *, channels=4, classes=5, dtype=np.float32):
    generator = np.random.default_rng(seed)
    shapes = {
        "conv_w": (channels, 3, 3, 3),
        "conv_b": (channels,),
        "bn_s": (channels,),
        "bn_b": (channels,),
        "bn_m": (channels,),
        "bn_v": (channels,),
        "fc_w": (classes, channels),
        "fc_b": (classes,),
    }
    made = {name: generator.uniform(0.1, 1, shape).astype(dtype) for name, shape in shapes.items()}
    made["bn_v"] = made["bn_v"] + dtype(1)
    return made


def model(seed, body=BODY, prefix="", **sizes):
    held = weights(seed, **sizes)
    for name in held:
        body = re.sub(rf"\b{name}\b", prefix + name, body)
    return model_using({prefix + k: v for k, v in held.items()}, body, IMAGE, opset=13)


def graph(seed, body=BODY, **options):
    return planish.load(model(seed, body, **options))


def outputs(graph, x=X):
    (found,) = run_ort(planish.to_model(graph), {graph.inputs[0].name: x}).values()
    return found


def held(graph):
    return {t.name: t.values for node in graph.nodes for t in node.inputs if hasattr(t, "values")}


def notes(report):
    return {row.name: row.note for row in report.rows if row.status in ("left", "unused")}


def test_all_weights_statistics_too_are_those_of_the_source():
    target, source = graph(0), graph(1)
    found, report = transfer_weights(target, source)
    assert np.array_equal(outputs(found), outputs(source))
    assert {name: (values == held(source)[name]).all() for name, values in held(found).items()}
    assert set(held(found)) == set(held(target))
    assert len(report.of("taken")) == 8
    assert report.summary == "8 of 8 weights taken (100.0% of the values)"
    assert not np.array_equal(outputs(target), outputs(source))  # both are left untouched
    assert np.array_equal(outputs(target), outputs(graph(0)))
    again, report = transfer_weights(found, source)
    assert len(report.of("taken")) == 8
    assert np.array_equal(outputs(again), outputs(source))


def test_the_pass_reads_a_file_and_tells(tmp_path):
    planish.save(graph(1, classes=7), tmp_path / "source.onnx")
    text = f'transfer-weights{{source="{tmp_path / "source.onnx"}"}}'
    result = run_pass(graph(0), text)
    assert result.edits == 6
    assert result.records[0].remarks == (
        "6 of 8 weights taken, 2 left, 2 of the source not used (83.7% of the values)",
        "left: fc_w [5x4] (the source has 7x4)",
        "left: fc_b [5] (the source has 7)",
        "unused: fc_w [7x4], fc_b [7]",
    )
    assert str(planish.Pipeline.parse(text)) == text
    assert not result.verified
    limited = planish.Pipeline.parse(text).run(graph(0), limit=2)
    assert limited.edits == 2


@pytest.mark.parametrize(("here", "there"), [(4, 6), (6, 4)])
def test_the_leading_part_is_taken_where_that_is_asked_for(here, there):
    target, source = graph(0, channels=here), graph(1, channels=there)
    found, report = transfer_weights(target, source, slice=True)
    few = min(here, there)
    for name, values in held(found).items():
        want = np.array(held(target)[name])
        there_shape = held(source)[name].shape
        part = tuple(slice(min(sizes)) for sizes in zip(want.shape, there_shape, strict=True))
        want[part] = held(source)[name][part]
        np.testing.assert_array_equal(values, want)
    assert len(report.of("sliced")) == 7
    assert report.of("sliced")[0].note == f"the leading {few}x3x3x3 of {there}x3x3x3"
    again, _ = transfer_weights(found, source, slice=True)
    assert all(np.array_equal(v, held(found)[k]) for k, v in held(again).items())


def test_prefixes_are_renamed():
    found, report = transfer_weights(graph(0), graph(1, prefix="net_"), rename=["net_="])
    assert np.array_equal(outputs(found), outputs(graph(1)))
    assert "taken from another name: conv_w from net_conv_w" in report.remarks()[1]
    found, _ = transfer_weights(graph(0, prefix="m_"), graph(1), rename=["=m_"])
    assert np.array_equal(outputs(found), outputs(graph(1)))
    with pytest.raises(PassError, match="rename has 'nt_=', but no weight of the source starts"):
        transfer_weights(graph(0), graph(1, prefix="net_"), rename=["nt_="])
    with pytest.raises(PassError, match=r"rename gives 'conv_w' and 'bn_m' .* the same name"):
        transfer_weights(graph(0), graph(1), rename=["conv_w=bn_m"])
    with pytest.raises(PipelineError, match="from=to"):
        planish.Pipeline.parse("transfer-weights{source=a,rename=[conv]}")


def test_patterns_choose_among_the_weights():
    _, report = transfer_weights(graph(0), graph(1), only=["bn_*", "conv_*"], exclude=["*_v"])
    assert [row.name for row in report.of("taken")] == [
        "conv_w",
        "conv_b",
        "bn_s",
        "bn_b",
        "bn_m",
    ]
    with pytest.raises(PassError, match=r"only has 'bm_s', .* \(did you mean 'bn_s'\?\)"):
        transfer_weights(graph(0), graph(1), only=["bm_s"])


@pytest.mark.parametrize(("here", "there"), [(np.float16, np.float32), (np.float32, np.float16)])
def test_types_are_converted_and_that_is_told(here, there):
    body = "y = Gemm <transB = 1> (x, fc_w, fc_b)"

    def made(seed, dtype):
        kind = "float16" if dtype is np.float16 else "float"
        used = {k: v for k, v in weights(seed, dtype=dtype).items() if k in body}
        text = model_using(used, body, f"{kind}[N, 4] x", opset=13)
        text.graph.output[0].type.tensor_type.elem_type = text.graph.input[
            0
        ].type.tensor_type.elem_type
        return planish.load(text)

    found, report = transfer_weights(made(0, here), made(1, there))
    for name, values in held(found).items():
        assert values.dtype == here
        np.testing.assert_array_equal(values, weights(1, dtype=there)[name].astype(here))
    assert {row.note for row in report.of("taken")} == {f"from {np.dtype(there).name}"}


def test_what_does_not_fit_the_narrower_type_is_left():
    body = "c = Cast <to = 1> (fc_w) y = Gemm <transB = 1> (x, c, fc_b)"
    used = {"fc_w": np.ones((2, 3), np.float16), "fc_b": np.ones(2, np.float32)}
    target = planish.load(model_using(used, body, "float[N, 3] x", opset=13))
    used = {"fc_w": np.full((2, 3), 1e5, np.float32), "fc_b": np.zeros(2, np.float32)}
    source = planish.load(
        model_using(used, "y = Gemm <transB = 1> (x, fc_w, fc_b)", "float[N, 3] x", opset=13)
    )
    found, report = transfer_weights(target, source)
    assert report.of("left")[0].note == "some values do not fit float16"
    assert not held(found)["fc_b"].any()


def test_a_matrix_stored_the_other_way_round_is_turned():
    square = {"fc_w": weights(1, channels=5)["fc_w"], "fc_b": weights(1)["fc_b"]}
    x = X.reshape(-1)[:10].reshape(2, 5)
    spellings = [
        "y = Gemm <transB = 1> (x, fc_w, fc_b)",
        "y = Gemm (x, fc_w, fc_b)",
        "p = MatMul (x, fc_w) y = Add (p, fc_b)",
    ]
    for body in spellings:
        for other in spellings:
            source = planish.load(model_using(square, body, "float[N, 5] x"))
            zeros = {name: np.zeros_like(values) for name, values in square.items()}
            target = planish.load(model_using(zeros, other, "float[N, 5] x"))
            found, _ = transfer_weights(target, source)
            assert relative_error(outputs(source, x), outputs(found, x)) <= 1e-6


def test_another_kind_of_weight_is_left():
    turned = BODY.replace("Conv <", "ConvTranspose <")
    target = {**weights(0), "conv_w": np.zeros((3, 3, 3, 3), np.float32)}
    source = {**weights(1), "conv_w": np.ones((3, 3, 3, 3), np.float32)}
    for each in (target, source):
        each.update({k: v[:3] for k, v in each.items() if k[:2] in ("co", "bn") and v.ndim == 1})
        each["fc_w"] = each["fc_w"][:, :3]
    found, report = transfer_weights(
        planish.load(model_using(target, BODY, IMAGE)),
        planish.load(model_using(source, turned, IMAGE)),
    )
    assert report.of("left")[0].note == (
        "it is the weight of Conv, in the source the weight of ConvTranspose"
    )
    assert not held(found)["conv_w"].any()


def test_masks_stay_and_what_they_cover_is_taken():
    masked = "m = Mul (conv_w, conv_w_mask) " + BODY.replace("(x, conv_w,", "(x, m,")
    mask = (np.random.default_rng(0).uniform(size=(4, 3, 3, 3)) > 0.5).astype(np.float32)
    target = planish.load(model_using({**weights(0), "conv_w_mask": mask}, masked, IMAGE, opset=13))
    source = graph(1)
    found, report = transfer_weights(target, source)
    assert notes(report) == {"conv_w_mask": "a mask, no weight"}
    assert np.array_equal(held(found)["conv_w_mask"], mask)
    assert np.array_equal(held(found)["conv_w"], held(source)["conv_w"])
    assert ops(found) == ops(target)
    back, report = transfer_weights(graph(2), found)
    assert notes(report) == {"conv_w_mask": "a mask, no weight"}
    assert np.array_equal(outputs(back), outputs(source))


def test_integers_are_left():
    body = """d = DequantizeLinear (fc_w, s, z) y = Gemm <transB = 1> (x, d, fc_b)"""
    used = {
        "fc_w": np.ones((5, 4), np.int8),
        "s": np.float32(0.1),
        "z": np.int8(0),
        "fc_b": weights(0)["fc_b"],
    }
    quantized = planish.load(model_using(used, body, "float[N, 4] x", opset=13))
    plain = "y = Gemm <transB = 1> (x, fc_w, fc_b)"
    used = {"fc_w": weights(1)["fc_w"], "fc_b": weights(1)["fc_b"]}
    floats = planish.load(model_using(used, plain, "float[N, 4] x", opset=13))
    _, report = transfer_weights(quantized, floats)
    assert report.of("left")[0].note == "stored as integers"
    assert [row.name for row in report.rows if row.status in ("taken", "left")] == ["fc_w", "fc_b"]
    _, report = transfer_weights(floats, quantized)
    assert report.of("left")[0].note == "the source has it as stored as integers"


def test_weights_in_constant_nodes_give_and_take():
    body = BODY.replace("a = Conv", "k = Constant <value = float[4] {1, 2, 3, 4}> () a = Conv")
    body = body.replace("conv_w, conv_b", "conv_w, k")
    target = graph(0, body)
    source = planish.load(
        model_using({**weights(1), "k": weights(1)["conv_b"]}, BODY.replace("conv_b", "k"), IMAGE)
    )
    found, report = transfer_weights(target, source)
    assert "Constant" not in ops(found)
    assert np.array_equal(outputs(found), outputs(source))
    assert len(report.of("taken")) == 8
    taken, _ = transfer_weights(source, target)
    assert np.array_equal(held(taken)["k"], np.float32([1, 2, 3, 4]))


def test_a_weight_that_a_caller_may_set_is_left():
    made = model(0)
    made.graph.input.append(onnx.helper.make_tensor_value_info("fc_b", onnx.TensorProto.FLOAT, [5]))
    _, report = transfer_weights(planish.load(made), graph(1))
    assert report.of("left")[0].note == "a graph input, which a caller may set"


def test_nothing_taken_is_an_error_with_the_nearest_names():
    with pytest.raises(PassError, match=r"'conv_w' \(did you mean 'conv_ww'\?\)"):
        transfer_weights(graph(0), graph(1, BODY), rename=[f"{n}={n}w" for n in weights(0)])
    with pytest.raises(PassError, match="'conv_w': the source has 6x3x3x3"):
        transfer_weights(graph(0), graph(1, channels=6), only=["conv_w"])


def test_a_folded_normalization_is_told():
    folded = planish.Pipeline.parse("fold-batchnorm").run(graph(1)).graph
    _, report = transfer_weights(graph(0), folded)
    assert notes(report)["conv_w"] == "the source has it with a normalization folded in"
    assert {row.name for row in report.of("taken")} == {"fc_w", "fc_b"}
