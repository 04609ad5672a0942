"""What is not stored or copied: parts of concatenations, and what a 1x1 convolution reads."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.kernels.elementwise import Elementwise
from planish.backends.tvm.kernels.prologue import run_sizes
from planish.backends.tvm.kernels.tile_sizes import RegisterTile
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

from tests.helpers import model_using, relative_error, run_ort

pytest.importorskip("tvm")


def normal(*shape: int):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(32, 6, 3, 3),
    "v": normal(20, 32, 3, 3),
    "k50": normal(40, 50, 1, 1),
    "scale": normal(32, 1, 1),
    "shift": normal(1, 32, 1, 1)[0],  # other numbers than the scale has
    "field": normal(32, 7, 9),
    "k": normal(40, 32, 1, 1),
    "deep": normal(70, 320, 1, 1),
    "wide": normal(320, 32, 1, 1),
    "k3": normal(18, 40, 3, 3),
    "few": normal(8, 32, 1, 1),
    "many": normal(32, 8, 1, 1),
}
PADS = "<pads = [1, 1, 1, 1]>"
BEGIN = f"a = Conv {PADS} (x, w)"


def kernels(body: str, batch: str = "2", isa: str = "avx2", outputs: str = ""):
    """Lower, run on both batch sizes that `batch` admits, and return what each kernel computes."""
    model = model_using(WEIGHTS, f"{BEGIN} {body}", f"float[{batch}, 6, 7, 9] x", outputs=outputs)
    graph = planish.load(model)
    compiled = planish.lower(graph, backend="tvm", threads=2)
    for images in (2,) if batch == "2" else (2, 3):
        feeds = {"x": normal(images, 6, 7, 9)}
        expected, found = run_ort(model, feeds), compiled(feeds)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            assert relative_error(values, found[name]) <= 1e-4, name
    return lower_graph(BlockedEmitter(prepare(graph), MACHINES[isa])).kernels


GROWING = f"""
    narrow = Conv (a, k)
    n = Relu (narrow)
    b = Conv {PADS} (n, k3)
    ab = Concat <axis = 1> (a, b)
    less = Conv (ab, k50)
    l = Relu (less)
    c = Conv {PADS} (l, k3)
    abc = Concat <axis = 1> (a, b, c)
    y = GlobalMaxPool (abc)
"""


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_a_concatenation_that_grows_copies_nothing(isa) -> None:
    names = kernels(GROWING, isa=isa).values()
    assert not [name for name in names if name.startswith(("concat", "copy"))]


def test_a_join_holds_where_kernels_are_called_one_by_one(monkeypatch) -> None:
    monkeypatch.setattr(
        "planish.backends.tvm.compile.build.merge_calls", lambda module, *_, **__: module
    )
    assert not [name for name in kernels(GROWING).values() if name.startswith(("concat", "copy"))]


def test_a_concatenation_of_a_dynamic_batch_is_copied() -> None:
    names = kernels(GROWING, batch="N").values()
    assert [name for name in names if name.startswith("concat")]


def test_a_tensor_wanted_twice_is_copied_once_more() -> None:
    names = list(
        kernels(
            f"""
            b = Conv {PADS} (a, v)
            first = Concat <axis = 1> (a, b, a)
            second = Concat <axis = 1> (b, a)
            p = GlobalMaxPool (first)
            q = GlobalMaxPool (second)
            y = Concat <axis = 1> (p, q)
            """
        ).values()
    )
    # In one of the two, b and a lie; the other has copies of both, and `first` a second a.
    assert len([name for name in names if name.startswith("copy")]) >= 2


def test_a_part_with_a_wider_border_than_its_join_is_copied() -> None:
    body = f"""
        b = Conv {PADS} (a, v)
        ab = Concat <axis = 1> (b, a)
        y = GlobalMaxPool (ab)
    """
    names = kernels(body).values()
    assert len([name for name in names if name.startswith("copy")]) == 1


def prologues(found) -> list[list[str]]:
    return [
        [step.op for step in op.prologue.steps]
        for op in found
        if isinstance(op, Convolution) and op.prologue.steps
    ]


NORMAL = "m = Mul (a, scale) t = Add (m, shift) r = Relu (t) g = GlobalMaxPool (a)"
GATE = """
    p = GlobalAveragePool (a) d = Conv (p, few) e = Relu (d) f = Conv (e, many)
    s = Sigmoid (f) r = Mul (a, s)
"""


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize(
    ("body", "steps"),
    [
        (f"{NORMAL} y = Conv (r, k)", ["Mul", "Add", "Relu"]),
        (f"{NORMAL} c = Conv (r, k) d = Relu (c) y = Conv {PADS} (d, k3)", ["Mul", "Add", "Relu"]),
        (f"{GATE} c = Conv (r, k) y = Relu (c)", ["Mul"]),
    ],
)
def test_what_one_1x1_convolution_reads_is_not_stored(batch, body, steps) -> None:
    found = kernels(body, batch, outputs="float[] g, " if "g =" in body else "")
    assert prologues(found) == [steps]
    assert not [op for op in found if isinstance(op, Elementwise)]


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (f"{NORMAL} c = Conv (r, k) q = GlobalMaxPool (r) y = Concat <axis = 1> (c, c)", "q"),
        (f"{NORMAL} y = Conv (r, k)", "r"),
        (f"{NORMAL} y = Conv {PADS} (r, v)", ""),
        (f"{NORMAL} y = Conv <strides = [2, 2]> (r, k)", ""),
        ("m = Mul (a, field) t = Tanh (m) g = GlobalMaxPool (a) y = Conv (t, k)", ""),
    ],
)
def test_what_others_read_or_a_window_reads_is_stored(body, outputs) -> None:
    named = ", ".join(f"float[] {name}" for name in ["g", *outputs])
    assert prologues(kernels(body, outputs=named + ", ")) == []


def test_input_that_exceeds_the_cache_is_prepared_in_runs() -> None:
    body = "b = Conv (a, wide) t = Tanh (b) g = GlobalMaxPool (b) y = Conv (t, deep)"
    assert prologues(kernels(body, outputs="float[] g, ")) == [["Tanh"]]


@pytest.mark.parametrize(
    ("positions", "tile", "each", "expected"),
    [
        ((1, 196), RegisterTile(1, 14, 2, True), 1024, (1, 28)),
        ((1, 30), RegisterTile(1, 14, 2, True), 1024, (1, 28)),
        ((1, 9), RegisterTile(1, 9, 2, True), 1 << 20, (1, 9)),
        ((56, 56), RegisterTile(1, 14, 2, True), 1024, (1, 56)),
        ((7, 7), RegisterTile(2, 7, 2, True), 1024, (4, 7)),
    ],
)
def test_runs_are_whole_tiles_that_fit(positions, tile, each, expected) -> None:
    assert run_sizes(positions, tile, each, 32 << 10) == expected
