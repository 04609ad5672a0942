"""set-shapes{like=...}: another export says which constants go with a size."""

import numpy as np
import onnx
import pytest

import planish
from planish.ir.files.text import model_from_text

from tests.helpers import run_ort
from tests.passes.interface.sized_networks import model


def kept(n, h, w):
    """A number that fits, and a map of one size."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, 8, 8] y)
    < float m = {{4}}, int64[4] s = {{{n}, 2, 8, 8}} >
    {{ a = Sub (x, m) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
       y = Resize <mode = "nearest"> (p, , , s) }}"""


def along(n, h, w):
    """A map that becomes as large as another, and a sort."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h // 2}, {w // 2}] y)
    < int64[4] s = {{{n}, 2, {h // 2}, {w // 2}}}, int64[1] k = {{{w // 2}}} >
    {{ p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
       q = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
       r = Resize <mode = "nearest"> (q, , , s) y, i = TopK <axis = 3> (r, k) }}"""


def divided(n, h, w):
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, {w}] y)
    < float m = {{{w}}} > {{ y = Div (x, m) }}"""


def sized(network, old, other, new, path):
    onnx.save(model(network, *other), path)
    wanted = [d.dim_value for d in model(network, *new).graph.input[0].type.tensor_type.shape.dim]
    text = f'set-shapes{{shapes=[x:{"x".join(map(str, wanted))}],like="{path}"}}'
    return planish.Pipeline.parse(text).run(planish.load(model(network, *old)), strict=True)


@pytest.mark.parametrize("network", [kept, along], ids=lambda f: f.__name__)
def test_what_the_other_export_says(network, tmp_path):
    old, other, new = (1, 8, 8), (1, 16, 24), (1, 24, 40)
    with pytest.raises(planish.PlanishError, match="sizes cannot be set"):
        planish.Pipeline.parse("set-shapes{shapes=[x:1x2x24x40]}").run(
            planish.load(model(network, *old)), strict=True
        )
    result = sized(network, old, other, new, tmp_path / "other.onnx")
    expected = model(network, *new)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 2, 24, 40)).astype("f")}
    got, want = run_ort(planish.to_model(result.graph), feeds), run_ort(expected, feeds)
    np.testing.assert_array_equal(got["y"], want["y"])


def test_what_follows_in_no_known_way_is_refused(tmp_path):
    with pytest.raises(planish.PlanishError, match="24 was a size of an input"):
        sized(divided, (1, 24, 24), (1, 48, 48), (1, 32, 32), tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (model(kept, 2, 8, 16), "does not tell what goes with axis 2"),
        (model(along, 2, 16, 24), "no export of the same network"),
    ],
)
def test_files_that_say_nothing(other, words, tmp_path):
    onnx.save(other, tmp_path / "other.onnx")
    text = f'set-shapes{{shapes=[x:3x2x24x40],like="{tmp_path / "other.onnx"}"}}'
    with pytest.raises(planish.PlanishError, match=words):
        planish.Pipeline.parse(text).run(planish.load(model(kept, 1, 8, 8)), strict=True)


def test_other_weights_are_refused(tmp_path):
    text = """g (float[1, 4, 8] x) => (float[1, 4, 2] y) < float[8, 2] w = {WEIGHTS} >
    { y = MatMul (x, w) }"""
    mine, theirs = (
        model_from_text(
            text.replace("WEIGHTS", ", ".join(str(v + i) for v in range(16))).replace(
                "[1, 4", f"[{1 + i}, 4"
            )
        )
        for i in (0, 1)
    )
    onnx.save(theirs, tmp_path / "other.onnx")
    line = f'set-shapes{{shapes=[x:3x4x8],like="{tmp_path / "other.onnx"}"}}'
    with pytest.raises(planish.PlanishError, match="not in a way that is known"):
        planish.Pipeline.parse(line).run(planish.load(mine), strict=True)
