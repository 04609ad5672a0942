"""Networks as texts with their sizes in them, as exporters write them, and what compares two."""

import numpy as np
import onnx

import planish
from planish.ir.files.text import model_from_text
from planish.passes.interface.set_shapes import set_shapes

from tests.helpers import run_ort

_HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def decoder(n, h, w):
    """Resized to the size of a skip connection, as `interpolate(size=skip.shape[2:])` is."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 2, {h}, {w}] y)
    < int64[4] sizes = {{{n}, 2, {h}, {w}}} >
    {{
       p = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)
       q = Sigmoid (p)
       r = Resize <mode = "nearest"> (q, , , sizes)
       y = Add (r, x)
    }}"""


def pyramid(n, h, w):
    """A pool over everything, brought back to the size of the map: ASPP."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 4, {h}, {w}] y)
    < int64[4] sizes = {{{n}, 2, {h}, {w}}} >
    {{
       p = GlobalAveragePool (x)
       r = Resize <mode = "nearest"> (p, , , sizes)
       y = Concat <axis = 1> (r, x)
    }}"""


def heads(n, h, w):
    """Maps of two sizes as one list of boxes, and split again."""
    small = (h // 2) * (w // 2)
    large = h * w
    return f"""g (float[{n}, 6, {h}, {w}] x)
    => (float[{n}, 6, {small}] y, float[{n}, 2, 3, {large}] z)
    <
       int64[3] a = {{{n}, 6, {h * w}}}, int64[3] b = {{{n}, 6, -1}},
       int64[2] s = {{{h * w}, {small}}}, int64[4] d = {{{n}, 2, 3, {h * w}}}
    >
    {{
       p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
       u = Reshape (x, a)
       v = Reshape (p, b)
       c = Concat <axis = 2> (u, v)
       k, y = Split <axis = 2> (c, s)
       z = Reshape (k, d)
    }}"""


def rows(n, h, w):
    """A layer over the pixels of all images as one list, which is taken apart again."""
    return f"""g (float[{n}, 3, {h}, {w}] x) => (float[{n}, {h * w}, 3] y)
    <
       int64[3] a = {{{n}, 3, {h * w}}}, int64[2] f = {{{n * h * w}, 3}},
       int64[3] e = {{{n}, {h * w}, 3}}
    >
    {{
       u = Reshape (x, a)
       t = Transpose <perm = [0, 2, 1]> (u)
       m = Reshape (t, f)
       s = Softmax <axis = 1> (m)
       y = Reshape (s, e)
    }}"""


def tokens(n, h, w):
    """A class token for each image, heads of attention, the first token."""
    t = h * w + 1
    return f"""g (float[{n}, 4, {h}, {w}] x) => (float[{n}, 4] y)
    <
       float[1, 1, 4] cls = {{1, 2, 3, 4}}, int64[3] each = {{{n}, 1, 4}},
       int64[3] flat = {{{n}, 4, {h * w}}},
       int64[4] split = {{{n}, {t}, 2, 2}}, int64[3] join = {{{n}, {t}, 4}}, int64 first = {{0}}
    >
    {{
       c = Expand (cls, each)
       a = Reshape (x, flat)
       b = Transpose <perm = [0, 2, 1]> (a)
       d = Concat <axis = 1> (c, b)
       e = Reshape (d, split)
       f = Softmax <axis = 1> (e)
       i = Reshape (f, join)
       y = Gather <axis = 1> (i, first)
    }}"""


def cropped(n, h, w):
    """Cut to the size of another map, and to the end, which is a number here."""
    half = h // 2
    return f"""g (float[{n}, 1, {h}, {w}] x)
    => (float[{n}, 1, {h}, {w}] y, float[{n}, 1, {half}, {w}] z)
    <
       int64[2] starts = {{0, 0}}, int64[2] ends = {{{h}, {w}}}, int64[2] axes = {{2, 3}},
       int64[8] pads = {{0, 0, 0, 0, 0, 0, 1, 1}},
       int64[1] one = {{1}}, int64[1] last = {{{h}}}, int64[1] two = {{2}}
    >
    {{
       p = Pad (x, pads)
       c = Slice (p, starts, ends, axes)
       y = Add (c, x)
       z = Slice (x, one, last, two, two)
    }}"""


def recurrent(n, h, w):
    """A first state of zeros for each sample of the batch."""
    states = ", ".join(["0"] * (n * 2))
    return f"""g (float[{h}, {n}, 3] x) => (float[{h}, 1, {n}, 2] y)
    <
       float[1, 2, 3] a = {{1, 2, 3, 4, 5, 6}}, float[1, 2, 2] r = {{1, 2, 3, 4}},
       float[1, {n}, 2] s = {{{states}}}
    >
    {{ y = RNN <hidden_size = 2> (x, a, r, , , s) }}"""


def levels(n, h, w):
    """Maps of two sizes, each [N, H, W, anchors * 3] taken for [N, rest, 3]; groups of channels."""
    m = h * w * 2
    return f"""g (float[{n}, 6, {h}, {w}] x) => (float[{n}, {m}, 3] y, float[{n}, 2, {h * w * 3}] z)
    < int64[3] a = {{{n}, -1, 3}}, int64[3] b = {{{n}, 2, {h * w * 3}}} >
    {{
       t = Transpose <perm = [0, 2, 3, 1]> (x)
       y = Reshape (t, a)
       z = Reshape (x, b)
    }}"""


def flattened(n, h, w):
    """Rows of all images at once, whose number the rest is."""
    return f"""g (float[{n}, {h}, 3, {w}] x) => (float[{n * h}, 3, {w}] y)
    < int64[3] a = {{-1, 3, {w}}} > {{ y = Reshape (x, a) }}"""


def classifier(n, h, w):
    """A pool over everything, written as a window of that size: else no features fit."""
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 1] y) < float[2, 1] w = {{1, 2}} >
    {{ p = AveragePool <kernel_shape = [{h}, {w}]> (x) f = Flatten (p) y = MatMul (f, w) }}"""


def over_places(n, h, w):
    """A softmax over all places of a map, whose number stays where H and W are exchanged."""
    return f"""g (float[{n}, 3, {h}, {w}] x) => (float[{n}, 3, {h}, {w}] y)
    < int64[3] f = {{{n}, 3, {h * w}}}, int64[4] t = {{{n}, 3, {h}, {w}}} >
    {{ a = Reshape (x, f) b = Softmax <axis = 2> (a) y = Reshape (b, t) }}"""


def over_rows(n, h, w):
    """A softmax over each row of each image, of which there may be as many as before."""
    return f"""g (float[{n}, {h}, {w}, 2] x) => (float[{n}, {h}, {w}, 2] y)
    < int64[3] f = {{{n * h}, {w}, 2}}, int64[4] t = {{{n}, {h}, {w}, 2}} >
    {{ a = Reshape (x, f) b = Softmax <axis = 1> (a) y = Reshape (b, t) }}"""


def places(n, h, w):
    """A pool to two by two places, as windows side by side."""
    a, b, ones = h // 2, w // 2, ", ".join(["1"] * 8)
    return f"""g (float[{n}, 2, {h}, {w}] x) => (float[{n}, 1] y) < float[8, 1] w = {{{ones}}} >
    {{
       p = MaxPool <kernel_shape = [{a}, {b}], strides = [{a}, {b}]> (x)
       f = Flatten (p)
       y = MatMul (f, w)
    }}"""


def planes(n, h, w):
    """A plane that is the same in all rows, one in all samples, and a size that an Expand keeps."""
    columns = ", ".join(["1, 2"] * h)
    return f"""g (float[{n}, 1, {h}, 2] x) => (float[{n}, 4, {h}, 2] y)
    <
       float[1, 1, {h}, 2] p = {{{columns}}}, int64[4] e = {{{n}, 2, {h}, 2}},
       int64[4] all = {{{n}, 1, {h}, 2}}
    >
    {{
       q = Expand (p, all)
       r = Expand (x, e)
       y = Concat <axis = 1> (x, q, r)
    }}"""


NETWORKS = [planes, decoder, pyramid, heads, tokens, cropped, levels, flattened, classifier]


def model(network, *sizes):
    return model_from_text(_HEADER + network(*sizes))


def set_to(made, network, *sizes):
    """Return `made` with the input that `network` has at `sizes`, and what was told."""
    wanted = model(network, *sizes).graph.input[0].type.tensor_type.shape.dim
    return set_shapes(planish.load(made), ["x=" + ",".join(str(d.dim_value) for d in wanted)])


def assert_same(expected, found):
    feeds = {
        t.name: np.random.default_rng(0)
        .standard_normal([d.dim_value for d in t.type.tensor_type.shape.dim])
        .astype(np.float32)
        for t in expected.graph.input
    }
    after = planish.to_model(found)
    onnx.checker.check_model(after, full_check=True)
    got, want = run_ort(after, feeds), run_ort(expected, feeds)
    for name, array in want.items():
        np.testing.assert_array_equal(array, got[name])
        declared = next(o for o in after.graph.output if o.name == name).type.tensor_type
        assert tuple(d.dim_value for d in declared.shape.dim) == array.shape


def of_numbers(nodes, held, size=24):
    text = f"g (float[1, 4, {size}, {size}] x) => (float[] y) < {held} > {{ {nodes} }}"
    made = model_from_text(_HEADER + text)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return planish.load(made)
