"""DepthToSpace and SpaceToDepth from Reshape, Transpose, Reshape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.recognition import shuffle

PASS = "recognize-depth-to-space"
DEEP, WIDE = (12, 4, 6), (3, 8, 12)
KINDS = {
    "CRD": (DEEP, (3, 2, 2, 4, 6), [0, 1, 4, 2, 5, 3], WIDE, {"blocksize": 2, "mode": "CRD"}),
    "DCR": (DEEP, (2, 2, 3, 4, 6), [0, 3, 4, 1, 5, 2], WIDE, {"blocksize": 2, "mode": "DCR"}),
    "to depth": (WIDE, (3, 4, 2, 6, 2), [0, 3, 5, 1, 2, 4], DEEP, {"blocksize": 2}),
}


def model(before, middle, perm, after, *, batch="N", targets=(-1, -1), opset=17):
    sizes = [", ".join(map(str, shape)) for shape in (before, after)]
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{batch}, {sizes[0]}] x) => (float[{batch}, {sizes[1]}] y) {{
            a = Reshape(x, middle) b = Transpose <perm = {perm}> (a) y = Reshape(b, after) }}""",
        {
            "middle": np.array([targets[0], *middle]),
            "after": np.array([targets[1], *after]),
        },
    )


def feeds(before, batch=2):
    return {"x": np.random.default_rng(0).standard_normal((batch, *before)).astype(np.float32)}


@pytest.mark.parametrize("targets", [(-1, -1), (0, -1), (0, 0), (2, 2)])
@pytest.mark.parametrize(("before", "middle", "perm", "after", "attrs"), KINDS.values(), ids=KINDS)
def test_fires(before, middle, perm, after, attrs, targets):
    batch = 2 if 2 in targets else "N"
    given_model = model(before, middle, perm, after, batch=batch, targets=targets)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["DepthToSpace" if "mode" in attrs else "SpaceToDepth"]
    assert result.graph.nodes[0].attrs == attrs
    assert_same_function(given_model, result.graph, feeds(before), 0)


def test_dcr_has_no_name_before_opset_11():
    before, middle, perm, after, _ = KINDS["DCR"]
    given_model = model(before, middle, perm, after, opset=9)
    result = run_pass(planish.load(given_model), PASS)
    assert result.graph.nodes[0].attrs == {"blocksize": 2}
    assert_same_function(given_model, result.graph, feeds(before), 0)


def test_crd_came_with_opset_11():
    result = run_pass(planish.load(model(*KINDS["CRD"][:4], opset=9)), PASS)
    assert ops(result.graph) == ["Reshape", "Transpose", "Reshape"]
    assert reasons(result) == {"DepthToSpace has its CRD mode from opset 11 on"}


STAYS = {
    "PixelUnshuffle": (WIDE, (3, 4, 2, 6, 2), [0, 1, 3, 5, 2, 4], DEEP),
    "a shuffle of channels": (DEEP, (3, 2, 2, 4, 6), [0, 2, 1, 3, 4, 5], DEEP),
    "unequal blocks": ((12, 4, 6), (2, 3, 2, 4, 6), [0, 1, 4, 2, 5, 3], (2, 12, 12)),
    "other positions": ((12, 4, 6), (3, 2, 2, 6, 4), [0, 1, 4, 2, 5, 3], (3, 12, 8)),
    "joined otherwise": (DEEP, (3, 2, 2, 4, 6), [0, 1, 4, 2, 5, 3], (6, 4, 12)),
}


@pytest.mark.parametrize(("before", "middle", "perm", "after"), STAYS.values(), ids=STAYS)
def test_leaves_alone(before, middle, perm, after):
    given_model = model(before, middle, perm, after)
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0


def test_the_sizes_must_be_static():
    perm = KINDS["CRD"][2]
    given_model = model_of(
        f"""g (float[1, 12, H, 6] x) => (float[1, 3, A, 12] y) {{
            a = Reshape(x, middle) b = Transpose <perm = {perm}> (a) y = Reshape(b, after) }}""",
        {"middle": np.array([1, 3, 2, 2, -1, 6]), "after": np.array([1, 3, -1, 12])},
    )
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0
    assert reasons(result) == {"its channels or positions are not static"}


def test_a_value_between_that_is_read_elsewhere_stays():
    _, middle, perm, after, _ = KINDS["CRD"]
    given_model = model_of(
        f"""g (float[2, 12, 4, 6] x) => (float[2, 3, 8, 12] y, float[2, 3, 4, 2, 6, 2] b) {{
            a = Reshape(x, middle) b = Transpose <perm = {perm}> (a) y = Reshape(b, after) }}""",
        {"middle": np.array([2, *middle]), "after": np.array([2, *after])},
    )
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0
    assert reasons(result) == {"the result of Transpose inside it is read elsewhere too"}


@given(case=networks(patterns=(shuffle,)))
@settings(_SETTINGS, max_examples=examples(40))
def test_random_networks(case):
    _check(case, PASS)


@pytest.mark.parametrize("kind", ["int32", "int64", "bool"])
def test_no_runtime_has_it_of_integers(kind):
    given_model = model_of(
        f"""g ({kind}[N, 4, 2, 2] x) => ({kind}[N, 1, 4, 4] y) {{
            a = Reshape(x, s)
            b = Transpose <perm = [0, 1, 4, 2, 5, 3]> (a)
            y = Reshape(b, t)
        }}""",
        {"s": np.array([-1, 1, 2, 2, 2, 2]), "t": np.array([-1, 1, 4, 4])},
    )
    result = run_pass(planish.load(given_model), "recognize-depth-to-space")
    assert result.edits == 0
    assert reasons(result) == {"ONNX Runtime has DepthToSpace of floats alone"}
