"""Arithmetic on sizes, evaluated with names, against what the runtime computes."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planish
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.analysis.sizes.result_sizes import broadcast
from planish.passes.analysis.sizes.shape_arithmetic import ShapeArithmetic
from planish.passes.analysis.sizes.symbolic import ONE, ZERO, SymbolicSize, same_sizes

from tests.helpers import model_of, run_ort, view_of
from tests.strategies.random_graphs import graph as random_graph


class Evaluated:
    """What is known of the tensors of a model, and what they are for one feed."""

    def __init__(self, model, feeds):
        self.graph = planish.load(model)
        types = infer_types(self.graph)
        self.view = View(self.graph, Uses(self.graph), types.of)
        self.sizes = ShapeArithmetic()
        made = [t for node in self.graph.nodes for t in node.outputs if t.name]
        shown = onnx.ModelProto()
        shown.CopyFrom(planish.to_model(self.graph))
        there = {output.name for output in shown.graph.output}
        shown.graph.output.extend(
            onnx.ValueInfoProto(name=t.name) for t in made if t.name not in there
        )
        self.values = {**feeds, **run_ort(shown, feeds)}
        every = (*self.graph.inputs, *made)
        self.tensors = [t for t in every if isinstance(self.values.get(t.name), np.ndarray)]
        self.env = {}
        for tensor in self.tensors:
            found = types.of(tensor)
            for axis, size in enumerate(self.values[tensor.name].shape):
                self.env[f"size {axis} of {id(tensor)}"] = size
                name = found.shape[axis] if found and found.shape is not None else None
                if isinstance(name, str):
                    assert self.env.setdefault(f"name {name}", size) == size

    def number(self, size):
        return sum(n * int(np.prod([self.env[a] for a in atoms])) for atoms, n in size.terms)

    def check(self):
        """Compare everything that is known; return how many sizes and elements that are."""
        known = 0
        for tensor in self.tensors:
            values = self.values[tensor.name]
            shape = self.sizes.shape(tensor, self.view)
            if shape is not None:
                assert len(shape) == values.ndim
                pairs = zip(shape, values.shape, strict=True)
                known += self._same(pairs, tensor)
            held = self.sizes.held(tensor, self.view)
            if held is not None:
                assert held.shape == values.shape
                known += self._same(zip(held.reshape(-1), values.reshape(-1), strict=True), tensor)
        return known

    def _same(self, pairs, tensor):
        known = [(size, value) for size, value in pairs if size is not None]
        for size, value in known:
            assert self.number(size) == value, (tensor.name, size)
        return len(known)


def usable(drawn):
    """Say whether no size with a name is zero: in a target of Reshape it would mean another."""
    if drawn is None:
        return False
    named = [
        size
        for info in drawn.model.graph.input
        for dim, size in zip(
            info.type.tensor_type.shape.dim,
            drawn.feeds[0].get(info.name, np.zeros(())).shape,
            strict=False,
        )
        if not dim.HasField("dim_value")
    ]
    return 0 not in named


@pytest.mark.parametrize(
    "first",
    [*range(0, 80, 20), *(pytest.param(n, marks=pytest.mark.slow) for n in range(80, 160, 20))],
)
def test_random_arithmetic(first):
    known = 0
    for number in range(first, first + 20):
        drawn = random_graph("arithmetic", Random(f"sizes {number}"))
        if usable(drawn):
            known += Evaluated(drawn.model, drawn.feeds[0]).check()
    assert known > 100


def evaluate(body, inputs="float[N, 3, H, W] x", opset=20, **constants):
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> g ({inputs}) => (int64[] y) {{ {body} }}'
    used = {name: np.asarray(value) for name, value in constants.items()}
    graph = planish.load(model_of(text, used))
    view = view_of(graph)
    return ShapeArithmetic().held(graph.outputs[0], view)


N, H, W = (SymbolicSize.named(f"name {letter}") for letter in "NHW")
THREE = SymbolicSize.of(3)

HELD = {
    "a slice": ("s = Shape(x) y = Slice(s, one, three)", [THREE, H]),
    "a slice backwards": ("s = Shape(x) y = Slice(s, m1, m3, zero, m1)", [W, H]),
    "attributes": ("y = Shape <start = -3, end = -1> (x)", [THREE, H]),
    "a sum": ("s = Shape(x) a = Gather(s, two) y = Add(a, one)", [H + ONE]),
    "a difference that cancels":
        ("s = Shape(x) a = Gather(s, two) b = Add(a, one) y = Sub(b, a)", [ONE]),
    "a product over a factor":
        ("s = Shape(x) p = ReduceProd(s) n = Gather(s, zero) y = Div(p, n)", [THREE * H * W]),
    "equal or not": ("s = Shape(x) e = Equal(s, m1) y = Cast <to = 7> (e)", [ZERO] * 4),
    "where none is": ("s = Shape(x) e = Equal(s, m1) y = Where(e, one, s)", [N, THREE, H, W]),
    "equal that is not sure": (
        "s = Shape(x) e = Equal(s, one) y = Cast <to = 7> (e)", [None, ZERO, None, None]),
    "the larger": ("s = Shape(x) y = Max(s, zero)", [N, THREE, H, W]),
    "the larger that is not sure": ("s = Shape(x) y = Max(s, one)", [None, THREE, None, None]),
    "a rest": ("s = Shape(x) d = Mul(s, two) y = Mod(d, two)", [ZERO] * 4),
    "two rows":
        ("s = Shape(x) r = Reshape(s, rows) t = Transpose(r) y = Reshape(t, m1)", [N, H, THREE, W]),
    "a split": ("s = Shape(x) a, b = Split <num_outputs = 2> (s) y = Identity(b)", [H, W]),
    "tiles": ("n = Shape <end = 1> (x) y = Tile(n, two)", [N, N]),
    "a truth of bytes": ("s = Shape(x) c = Cast <to = 3> (s) y = Cast <to = 7> (c)",
        [None, THREE, None, None]),
}  # fmt: skip

CONSTANTS = {
    "zero": [0], "one": [1], "two": [2], "three": [3], "m1": [-1], "m3": [-3], "rows": [2, 2],
}  # fmt: skip


@pytest.mark.parametrize(("body", "wanted"), HELD.values(), ids=HELD)
def test_elements(body, wanted):
    words = set(body.replace("(", " ").replace(",", " ").replace(")", " ").split())
    used = {name: values for name, values in CONSTANTS.items() if name in words}
    assert evaluate(body, **used).tolist() == wanted


SHAPES = {
    "Concat": ("y = Concat <axis = 1> (x, x)", [N, SymbolicSize.of(6), H, W]),
    "Concat of names": ("y = Concat <axis = 2> (x, x)", [N, THREE, H + H, W]),
    "Conv": ("y = Conv <pads = [1, 1, 1, 1]> (x, k)", [N, ONE + ONE, H, W]),
    "Conv without pads": ("y = Conv(x, k)", [N, ONE + ONE, H - ONE - ONE, W - ONE - ONE]),
    "Flatten": ("y = Flatten(x)", [N, THREE * H * W]),
    "Expand": ("s = Shape(x) y = Expand(c, s)", [N, THREE, H, W]),
    "MatMul": ("t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul(x, t)", [N, THREE, H, H]),
    "Slice of what is there": ("p = Pad(x, one_row) y = Slice(p, one, far, two)", [N, THREE, H, W]),
    "ReduceMean": ("y = ReduceMean <keepdims = 0> (x, one)", [N, H, W]),
    "Gather": ("y = Gather <axis = 1> (x, two)", [N, ONE, H, W]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "wanted"), SHAPES.values(), ids=SHAPES)
def test_sizes_that_follow(body, wanted):
    weights = {
        "k": np.zeros((2, 3, 3, 3), np.float32), "c": np.float32(1), "far": np.array([2**63 - 1]),
        "one": np.array([1]), "two": np.array([2]), "one_row": np.array([0, 0, 1, 0, 0, 0, 0, 0]),
    }  # fmt: skip
    text = f"g (float[N, 3, H, W] x) => (float[] y) {{ {body} }}"
    used = {name: values for name, values in weights.items() if name in body}
    graph = planish.load(model_of(text, used))
    view = view_of(graph)
    assert list(ShapeArithmetic().shape(graph.outputs[0], view)) == wanted


small = st.integers(-3, 3)
polynomials = st.lists(
    st.tuples(small, st.lists(st.sampled_from([N, H, W]), max_size=2)), max_size=3
)


def built(parts):
    total = ZERO
    for number, atoms in parts:
        term = SymbolicSize.of(number)
        for atom in atoms:
            term = term * atom
        total = total + term
    return total


def valued(size, env):
    return sum(n * int(np.prod([env[a] for a in atoms])) for atoms, n in size.terms)


@given(polynomials, polynomials, st.lists(st.integers(0, 7), min_size=3, max_size=3))
def test_polynomials_are_numbers_of_their_names(a, b, sizes):
    env = dict(zip(("name N", "name H", "name W"), sizes, strict=True))
    x, y = built(a), built(b)
    assert valued(x + y, env) == valued(x, env) + valued(y, env)
    assert valued(x * y, env) == valued(x, env) * valued(y, env)
    assert valued(x - y, env) == valued(x, env) - valued(y, env)
    assert x.low <= valued(x, env) <= x.high
    if y != ZERO:
        assert (x * y).over(y) == x
    quotient = x.over(y)
    assert quotient is None or quotient * y == x
    assert (x == y) == (x - y == ZERO)


def test_what_follows_from_the_number_of_elements():
    assert same_sizes([N, THREE], [N, None])
    assert not same_sizes([N, THREE], [H, None])
    assert not same_sizes([ZERO, THREE], [ZERO, None])  # any size has as many elements


def test_a_number_is_what_names_are_broadcast_to():
    five = SymbolicSize.of(5)
    assert broadcast([(N, THREE), (five, ONE)]) == (five, THREE)
    assert broadcast([(N, H), (ONE, W)]) == (N, None)
    assert broadcast([(H,), (N, ONE)]) == (N, H)


def test_a_name_that_a_reshape_copies_instead_of_is_no_size():
    """Inference names both by the -1, which is 0: then the second Reshape copies."""
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 19]>
        g (float[a, b, 1, 0] x, int64[3] rest) => (int64[1] s) {
            flat = Constant<value_ints = [0, -1]>()
            rows = Reshape(x, flat)
            sizes = Shape(rows)
            one = Constant<value_ints = [1]>()
            width = Gather(sizes, one)
            target = Concat<axis = 0>(width, rest)
            y = Reshape(rows, target)
            s = Shape<start = 0, end = 1>(y)
        }"""
    )
    feeds = {"x": np.zeros((2, 3, 1, 0), np.float32), "rest": np.array([2, 1, -1])}
    run = planish.Pipeline.parse("fold-constants").run(planish.load(model), verify="off")
    assert run_ort(planish.to_model(run.graph), feeds)["s"].tolist() == [2]
