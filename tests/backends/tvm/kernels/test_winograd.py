"""Winograd convolution: its algebra in numpy, its kernels against ONNX Runtime, and its choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.kernels.winograd.choice import choose_winograd, plan_for
from planish.backends.tvm.kernels.winograd.convolution import Winograd
from planish.backends.tvm.kernels.winograd.transforms import Transform, on_axes
from planish.backends.tvm.program import emit_linear
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES, host_isa

from ..instructions import each_isa, make_runnable
from tests.helpers import Array, model_of, relative_error, run_ort

pytest.importorskip("tvm")

TOLERANCE = 1e-4
LENGTHS = [(1, 1), (2, 3), (4, 3), (2, 5), (3, 2), (3, 4)]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def same(value: Any) -> Any:
    return value


def values(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-1, 1), min_size=count, max_size=count)


@pytest.mark.parametrize(("results", "taps"), LENGTHS)
@given(data=st.data())
def test_short_convolutions_are_correlations(results, taps, data) -> None:
    transform = Transform(results, taps)
    x, w = data.draw(values(transform.points)), data.draw(values(taps))
    products = [
        a * b for a, b in zip(transform.inputs(x, same), transform.weights(w, same), strict=True)
    ]
    expected = np.correlate(x, w)
    assert len(products) == transform.points == len(x)
    np.testing.assert_allclose(transform.sums(products, same), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("results", "taps"), LENGTHS)
def test_few_steps_compute_what_the_matrices_say(results, taps) -> None:
    transform = Transform(results, taps)
    for matrix, apply in [
        (transform.weight_matrix, transform.weights),
        (transform.input_matrix, transform.inputs),
        (transform.result_matrix, transform.sums),
    ]:
        steps = [apply(row, same) for row in np.eye(matrix.shape[1])]
        np.testing.assert_allclose(np.transpose(steps), matrix, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lengths", [((4, 3), (4, 3)), ((2, 3), (4, 3)), ((1, 1), (2, 5))])
def test_two_axes_are_transformed_in_turn(lengths) -> None:
    along = [Transform(*length) for length in lengths]
    rng = np.random.default_rng(0)
    x = rng.standard_normal([t.points for t in along])
    w = rng.standard_normal([t.taps for t in along])
    held = on_axes([t.inputs for t in along], x.shape, list(x.reshape(-1)), same)
    ready = on_axes([t.weights for t in along], w.shape, list(w.reshape(-1)), same)
    products = [a * b for a, b in zip(held, ready, strict=True)]
    found = on_axes([t.sums for t in along], x.shape, products, same)
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape)
    expected = np.einsum("ijkl,kl->ij", windows, w)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=0, atol=1e-12)


def kernels_of(model: Any, isa: str = "avx512-bf16", **options: Any) -> list[Any]:
    """Return the kernels for a machine with caches of a known size, whatever this one has."""
    graph = prepare(planish.load(model))
    lowered = lower_graph(BlockedEmitter(graph, MACHINES[isa], Settings(**options)))
    return list(lowered.kernels)


def force(monkeypatch: pytest.MonkeyPatch, results: tuple[int, int, int], **cut: int) -> list[Any]:
    """Make every convolution a Winograd convolution of `results`; return those that are made."""
    made = []

    def forced(conv: Convolution, machine: Any, threads: int) -> Winograd:
        plan, _ = plan_for(conv, results, machine, threads)
        assert plan is not None
        made.append(Winograd(conv, results, replace(plan, **cut)))
        return made[-1]

    monkeypatch.setattr(emit_linear, "choose_winograd", forced)
    return made


def check(model: Any, *cases: dict[str, Array], **options: Any) -> None:
    """Compare the compiled `model` with ONNX Runtime on each of `cases`."""
    compiled = planish.lower(planish.load(model), backend="tvm", **{"threads": 1, **options})
    for feeds in cases:
        found = compiled(feeds)
        for name, wanted in run_ort(model, feeds).items():
            assert relative_error(wanted, found[name]) <= TOLERANCE, name


def one_layer(
    batch: str, channels: int, outputs: int, sizes: Sequence[int], attributes: str,
    kernel: Sequence[int],
) -> Any:  # fmt: skip
    group = 3 if "group = 3" in attributes else 1
    shape = ", ".join(map(str, sizes))
    return model_of(
        f"""g (
            float[{batch}, {channels}, {shape}] x, float[{batch}, {outputs}, 1, 1] s
        ) => (float[] y) {{
            c = Conv <{attributes}> (x, w, b)
            r = Relu(c)
            y = Add(r, s)
        }}""",
        {"w": normal(outputs, channels // group, *kernel), "b": normal(outputs)},
    )


SAME = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"


@pytest.mark.parametrize(
    ("batch", "results", "channels", "outputs", "sizes", "attributes", "kernel"),
    [
        # Code of an unknown batch takes up to four times as long to make: some cases have it.
        ("N", (1, 4, 4), 32, 48, (13, 9), SAME, (3, 3)),
        pytest.param("N", (1, 2, 2), 32, 48, (13, 9), SAME, (3, 3), marks=pytest.mark.slow),
        ("3", (1, 4, 4), 33, 20, (7, 7), SAME, (3, 3)),
        ("N", (1, 2, 4), 20, 33, (8, 5), "kernel_shape = [3, 3], pads = [1, 0, 0, 1]", (3, 3)),
        ("1", (1, 4, 2), 40, 16, (6, 4), "kernel_shape = [3, 3]", (3, 3)),
        ("3", (1, 4, 4), 16, 16, (9, 6), "kernel_shape = [3, 3], pads = [2, 2, 3, 1]", (3, 3)),
        ("3", (1, 2, 4), 48, 96, (8, 8), SAME + ", group = 3", (3, 3)),
        pytest.param(
            "N", (1, 4, 4), 48, 96, (8, 8), SAME + ", group = 3", (3, 3), marks=pytest.mark.slow
        ),
        ("3", (1, 2, 2), 24, 24, (5, 5), "kernel_shape = [5, 5], pads = [2, 2, 2, 2]", (5, 5)),
        ("N", (1, 1, 4), 20, 18, (5, 7), "kernel_shape = [1, 3], pads = [0, 1, 0, 1]", (1, 3)),
        ("3", (1, 4, 1), 20, 18, (7, 5), "kernel_shape = [3, 1], pads = [1, 0, 1, 0]", (3, 1)),
    ],
)
def test_a_forced_tile_computes_the_convolution(
    monkeypatch, batch, results, channels, outputs, sizes, attributes, kernel
) -> None:
    made = force(monkeypatch, results)
    model = one_layer(batch, channels, outputs, sizes, attributes, kernel)
    counts = (1, 3) if batch == "N" else (int(batch),)
    feeds = [{"x": normal(n, channels, *sizes), "s": normal(n, outputs, 1, 1)} for n in counts]
    check(model, *feeds)
    assert made


@pytest.mark.parametrize(
    ("batch", "results", "cut"),
    [
        ("8", 4, {"tiles": 12, "together": 5, "blocks": 2, "splits": 1, "depth": 3}),
        # Code of an unknown batch takes LLVM long: few points a tile.
        ("N", 2, {"tiles": 5, "together": 5, "blocks": 1, "splits": 3, "depth": 2}),
        ("8", 4, {"tiles": 1, "together": 1, "blocks": 4, "splits": 1, "depth": 9}),
        pytest.param(
            "N",
            4,
            {"tiles": 7, "together": 7, "blocks": 1, "splits": 3, "depth": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "N",
            4,
            {"tiles": 5, "together": 2, "blocks": 3, "splits": 2, "depth": 1},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_work_cut_in_any_way_gives_the_same(monkeypatch, batch, results, cut) -> None:
    """Tiles that go round or repeat, shares that overlap, sums in pieces that do not divide."""
    made = force(monkeypatch, (1, results, results), **cut)
    model = model_of(
        f"""g (float[{batch}, 6, 11, 13] x) => (float[] y) {{
            a = Conv <kernel_shape = [1, 1]> (x, v)
            r = Relu(a)
            y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w)
        }}""",
        {"v": normal(72, 6, 1, 1), "w": normal(80, 72, 3, 3)},
    )
    monkeypatch.setattr(
        emit_linear,
        "choose_winograd",
        lambda conv, *rest, forced=emit_linear.choose_winograd: (
            forced(conv, *rest) if conv.kernel == (1, 3, 3) else None
        ),
    )
    check(model, {"x": normal(8, 6, 11, 13)}, threads=2)
    assert [(op.conv.batch, op.x.channels) for op in made] == [(None if batch == "N" else 8, 72)]


def test_border_tiles_write_only_what_is_theirs(monkeypatch) -> None:
    """The halo around the result stays zero, or the second convolution would see it."""
    force(monkeypatch, (1, 4, 4))
    model = model_of(
        """g (float[2, 16, 6, 7] x) => (float[] y) {
            a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
            r = Relu(a)
            y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, v)
        }""",
        {"w": normal(32, 16, 3, 3), "b": normal(32), "v": normal(16, 32, 3, 3)},
    )
    check(model, {"x": normal(2, 16, 6, 7)})


@pytest.mark.parametrize("isa", each_isa("amx", "avx512-bf16", "avx512-vnni"))
def test_winograd_code_for_every_instruction_set(isa, monkeypatch) -> None:
    model = model_of(
        """g (float[1, 64, 28, 28] x) => (float[] y) {
            y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
        }""",
        {"w": normal(64, 64, 3, 3)},
    )
    assert Winograd in map(type, kernels_of(model, isa))
    check(model, {"x": normal(1, 64, 28, 28)}, target=make_runnable(isa, monkeypatch))


def plain(
    channels: int, outputs: int, sizes: Sequence[int], attributes: str, k: str = "3, 3"
) -> Any:
    shape = ", ".join(map(str, sizes))
    kernel = [int(size) for size in k.split(",")]
    return model_of(
        f"""g (float[1, {channels}, {shape}] x) => (float[] y) {{
            y = Conv <kernel_shape = [{k}]{attributes}> (x, w)
        }}""",
        {"w": normal(outputs, channels, *kernel)},
    )


@pytest.mark.parametrize("isa", sorted(MACHINES))
def test_large_layers_are_chosen(isa) -> None:
    (op,) = [
        op
        for op in kernels_of(plain(64, 64, (56, 56), ", pads = [1, 1, 1, 1]"), isa)
        if isinstance(op, Winograd)
    ]
    assert op.results == (1, 4, 4)


def test_layers_of_many_weights_are_chosen() -> None:
    """Those are in the second cache when they are transformed, and results are as they were."""
    model = plain(512, 512, (7, 7), ", pads = [1, 1, 1, 1]")
    assert Winograd in map(type, kernels_of(model, "avx512"))
    feeds = {"x": normal(1, 512, 7, 7)}
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(feeds)["y"]
    assert relative_error(run_ort(model, feeds)["y"], found) < 1e-3


@pytest.mark.parametrize(
    "model",
    [
        plain(64, 64, (56, 56), ", strides = [2, 2]"),
        plain(64, 64, (56, 56), ", dilations = [2, 2]"),
        plain(64, 64, (56, 56), "", "1, 1"),
        plain(16, 16, (56, 56), "", "7, 7"),
        plain(3, 64, (56, 56), ""),  # its input is not blocked
        plain(64, 64, (3, 58), ""),  # one row of results
        plain(512, 512, (3, 3), ", pads = [1, 1, 1, 1]"),  # many more weights than results
        plain(16, 16, (6, 6, 6), "", "3, 3, 3"),
    ],
    ids=["stride", "dilation", "one tap", "seven taps", "few channels", "flat", "late", "3-D"],
)
def test_what_would_not_gain_is_direct(model) -> None:
    assert [type(op) for op in kernels_of(model) if hasattr(op, "epilogue")] == [Convolution]


def test_the_option_switches_it_off() -> None:
    model = plain(64, 64, (28, 28), ", pads = [1, 1, 1, 1]")
    assert Winograd in map(type, kernels_of(model))
    found = [type(op) for op in kernels_of(model, winograd=False)]
    assert Convolution in found
    assert Winograd not in found
    feeds, target = {"x": normal(1, 64, 28, 28)}, f"cpu{{isa={host_isa()},threads=1}}"
    given = [
        planish.lower(planish.load(model), backend="tvm", target=target, winograd=on)(feeds)["y"]
        for on in (True, False)
    ]
    assert not np.array_equal(*given)
    assert relative_error(*given) <= 1e-5


def test_the_choice_depends_on_the_batch() -> None:
    """With more images, transformed weights serve more tiles."""
    machine = MACHINES["avx512-bf16"]
    (direct,) = [
        op
        for op in kernels_of(plain(512, 512, (5, 5), ", pads = [1, 1, 1, 1]"))
        if isinstance(op, Convolution)
    ]
    assert choose_winograd(direct, machine, 1) is None
    assert choose_winograd(replace(direct, batch=8), machine, 1) is not None


@pytest.mark.parametrize(("inputs", "outputs", "size"), [(48, 128, 7), (32, 64, 14), (64, 64, 28)])
def test_up_to_16_threads_choose_one_form_so_that_bits_are_the_same(inputs, outputs, size) -> None:
    machine = MACHINES["avx512-bf16"]
    model = plain(inputs, outputs, (size, size), ", pads = [1, 1, 1, 1]")
    (direct,) = [op for op in kernels_of(model, winograd=False) if isinstance(op, Convolution)]
    chosen = [choose_winograd(direct, machine, threads) for threads in (1, 2, 3, 4, 8, 16)]
    assert len({found and found.results for found in chosen}) == 1


def test_deep_networks_stay_close() -> None:
    """Six layers of 128 channels with every other one added back, as in a residual network."""
    body, weights, before = [], {}, "x"
    for i in range(6):
        weights[f"w{i}"] = normal(128, 128, 3, 3, seed=i) / 34
        body.append(f"c{i} = Conv <{SAME}> ({before}, w{i}) r{i} = Relu(c{i})")
        before = f"r{i}"
        if i % 2 and i > 1:
            body.append(f"a{i} = Add(r{i}, r{i - 2})")
            before = f"a{i}"
    model = model_of(
        f"g (float[1, 128, 16, 16] x) => (float[] y) {{ {' '.join(body)} y = Relu({before}) }}",
        weights,
    )
    assert sum(isinstance(op, Winograd) for op in kernels_of(model)) >= 2
    check(model, {"x": normal(1, 128, 16, 16)})
