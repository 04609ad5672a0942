"""Sizes of a Resize or an Upsample, against those that ONNX Runtime gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import planish
from planish.ir.ops.resizing import resized_shape, scaled

from tests.helpers import graph_of, run_ort, view_of

X = np.zeros((2, 3, 6, 7), np.float32)


def resize(attrs="", opset=18, inputs="float[2, 3, 6, 7] x", **given):
    """Return the graph of a Resize by `scales` or `sizes`."""
    weights = {name: np.asarray(values) for name, values in given.items()}
    names = ", ".join(name if name in given else "" for name in ("scales", "sizes")).rstrip(", ")
    attrs = attrs and f"<{attrs}>"
    if opset == 11:  # its inputs are all required
        weights["none"] = np.zeros(0, np.float32)
    region = {10: "", 11: "none, "}.get(opset, ", ")
    return graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> '
        f"g ({inputs}) => (float[] y) {{ y = Resize {attrs} (x, {region}{names}) }}",
        weights,
    )


def shape_of(graph, **kwargs):
    return resized_shape(graph.nodes[-1], view_of(graph), **kwargs)


def test_scales_are_rounded_down_in_single_precision():
    for h, w in itertools.product((7 / 3, 0.5, 1.7, 1 / 3, 2.9999), repeat=2):
        graph = resize(scales=np.float32([1, 1, h, w]))
        assert shape_of(graph) == run_ort(planish.to_model(graph), {"x": X})["y"].shape
    assert scaled(6, 7 / 3) == 14  # 13.999999999999998 in double precision
    assert scaled("n", 1) == "n"
    assert scaled("n", 2) is None


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_sizes_keep_the_ratio_that_the_policy_says(policy):
    for sizes in ([12, 9], [5, 20], [6, 7], [9, 8], [1, 1], [13, 15]):
        graph = resize(f'axes = [2, 3], keep_aspect_ratio_policy = "{policy}"', sizes=sizes)
        found = run_ort(planish.to_model(graph), {"x": X})["y"].shape
        assert shape_of(graph) == found, sizes
        whole = resize(f'keep_aspect_ratio_policy = "{policy}"', sizes=[2, 3, *sizes])
        found = run_ort(planish.to_model(whole), {"x": X})["y"].shape
        assert shape_of(whole) == found, sizes


def test_axes_that_are_named():
    graph = resize("axes = [3, 2]", sizes=[14, 3])
    assert shape_of(graph) == run_ort(planish.to_model(graph), {"x": X})["y"].shape == (2, 3, 3, 14)
    graph = resize("axes = [-2]", scales=np.float32([2]))
    assert shape_of(graph) == (2, 3, 12, 7)
    assert shape_of(resize("axes = [3]", sizes=[9])) == (2, 3, 6, 9)
    confused = 'axes = [3, 2], keep_aspect_ratio_policy = "not_larger"'
    assert shape_of(resize(confused, sizes=[14, 3])) == (2, 3, None, None)
    counted = 'axes = [-2, -1], keep_aspect_ratio_policy = "not_larger"'
    assert shape_of(resize(counted, sizes=[14, 3])) == (2, 3, None, None)
    assert shape_of(resize("axes = [4]", sizes=[3])) is None
    assert shape_of(resize("axes = [2]", sizes=[3, 4])) is None


def test_a_region_decides_what_scales_and_ratios_give():
    crop = 'coordinate_transformation_mode = "tf_crop_and_resize"'
    assert shape_of(resize(crop, scales=np.float32([1, 1, 2, 2]))) == (None,) * 4
    assert shape_of(resize(crop, sizes=[2, 3, 8, 9])) == (2, 3, 8, 9)
    kept = f'{crop}, axes = [2, 3], keep_aspect_ratio_policy = "not_larger"'
    assert shape_of(resize(kept, sizes=[8, 9])) == (2, 3, None, None)


def test_sizes_that_are_not_known():
    named = "float[n, 3, 6, w] x"
    assert shape_of(resize(inputs=named, scales=np.float32([1, 1, 2, 2]))) == ("n", 3, 12, None)
    assert shape_of(resize("axes = [2, 3]", inputs=named, sizes=[4, 5])) == ("n", 3, 4, 5)
    kept = 'axes = [2, 3], keep_aspect_ratio_policy = "not_smaller"'
    assert shape_of(resize(kept, inputs=named, sizes=[4, 5])) == ("n", 3, None, None)
    none = "float[2, 3, 0, 4] x"
    assert shape_of(resize(kept, inputs=none, sizes=[4, 5])) == (2, 3, None, None)
    unranked = resize(scales=np.float32([1, 1, 2, 2]))
    unranked.inputs[0].shape = None
    assert shape_of(unranked) is None
    computed = resize(inputs="float[2, 3, 6, 7] x, int64[4] sizes", sizes=[2, 3, 4, 5])
    computed.nodes[0].inputs[3] = computed.inputs[1]
    assert shape_of(computed) is None
    told = shape_of(computed, values_of=lambda t: np.array([2, 3, 4, 5]) if "s" in t.name else None)
    assert told == (2, 3, 4, 5)


@pytest.mark.parametrize("opset", [10, 11, 13, 19])
def test_every_opset(opset):
    graph = resize(opset=opset, scales=np.float32([1, 1, 1.5, 3]))
    assert shape_of(graph) == run_ort(planish.to_model(graph), {"x": X})["y"].shape
    if opset == 11:
        both = graph_of(
            '<ir_version: 8, opset_import: ["" : 11]> g (float[2, 3, 6, 7] x) => (float[] y) '
            "{ y = Resize (x, none, none, sizes) }",
            {"none": np.zeros(0, np.float32), "sizes": np.array([2, 3, 5, 5])},
        )
        assert shape_of(both) == run_ort(planish.to_model(both), {"x": X})["y"].shape


def test_empty_sizes_are_none():
    graph = graph_of(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[2, 3, 6, 7] x) => (float[] y) '
        "{ y = Resize (x, , scales, none) }",
        {"scales": np.float32([1, 1, 2, 2]), "none": np.zeros(0, np.int64)},
    )
    assert shape_of(graph) == (2, 3, 12, 14)


def test_an_upsample_by_attribute_or_input():
    by_attribute = graph_of(
        '<ir_version: 8, opset_import: ["" : 7]> g (float[2, 3, 6, 7] x) => (float[] y) '
        "{ y = Upsample <scales = [1.0, 1.0, 2.5, 2.0]> (x) }"
    )
    by_input = graph_of(
        '<ir_version: 8, opset_import: ["" : 9]> g (float[2, 3, 6, 7] x) => (float[] y) '
        "{ y = Upsample (x, scales) }",
        {"scales": np.float32([1, 1, 2.5, 2])},
    )
    assert shape_of(by_attribute) == shape_of(by_input) == (2, 3, 15, 14)
