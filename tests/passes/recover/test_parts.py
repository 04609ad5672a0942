"""The pieces: cuts, closed form, losses, statistics, images, samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
import torch
from torch import nn

import planish
from planish.ir.core.errors import FeedError
from planish.ir.graph.clone import clone
from planish.passes.engine.context import Context
from planish.passes.recover.blocks.closed_form import LayerSolver
from planish.passes.recover.blocks.cuts import find_blocks, same, shared_tensors
from planish.passes.recover.training.augment import apply_maps, draw_maps
from planish.passes.recover.training.batchnorm import reestimate, training_batchnorm
from planish.passes.recover.training.losses import Objective, normalized_error, soft_cross_entropy
from planish.passes.recover.training.recipe import Recipe
from planish.passes.recover.training.samples import Samples
from planish.passes.recover.training.trainable import Trainable, to_tensors

from .small import with_masks, with_noise
from tests.helpers import graph_of

Array = np.ndarray[Any, Any]


def _normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _chain(count: int, seed: int = 0) -> gs.Graph:
    """Return x -> (Conv, Relu) * count -> y, of four channels."""
    nodes, weights, last = [], {}, "x"
    for number in range(count):
        weights[f"w{number}"] = _normal(seed + number, 4, 4, 3, 3) / 6
        nodes.append(f"c{number} = Conv <pads = [1, 1, 1, 1]> ({last}, w{number})")
        last = f"r{number}" if number + 1 < count else "y"
        nodes.append(f"{last} = Relu (c{number})")
    return graph_of(
        f"g (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {{ {' '.join(nodes)} }}", weights
    )


# Cuts


def _borders(student: gs.Graph, teacher: gs.Graph) -> list[tuple[tuple[str, ...], ...]]:
    blocks = find_blocks(student, teacher, shared_tensors(student, teacher))
    return [(block.inputs, block.outputs) for block in blocks]


def test_a_chain_is_cut_every_three_layers_behind_the_activation() -> None:
    graph = _chain(9)
    assert _borders(with_noise(graph), graph) == [
        (("x",), ("r2",)),
        (("r2",), ("r5",)),
        (("r5",), ("y",)),
    ]


def test_a_block_is_changed_where_its_own_nodes_are() -> None:
    teacher = _chain(9)
    student = clone(teacher)
    weight = student.nodes[8].inputs[1]
    assert weight.name == "w4"
    weight._values = weight.values + np.float32(1)
    shared = shared_tensors(student, teacher)
    assert [b.changed for b in find_blocks(student, teacher, shared)] == [False, True, False]
    assert not same(student, teacher)
    assert same(clone(teacher), teacher)


def test_a_mask_changes_the_block_of_its_weight_alone() -> None:
    teacher = _chain(9)
    student = with_masks(teacher)
    # Wherever the products of masks stand, each belongs to the block that reads it.
    student.nodes.sort(key=lambda node: node.op != "Mul")
    blocks = find_blocks(student, teacher, shared_tensors(student, teacher))
    assert [sum(node.op == "Mul" for node in block.nodes) for block in blocks] == [2, 3, 3]
    assert [block.inputs for block in blocks] == [("x",), ("r2",), ("r5",)]


def test_no_cut_where_a_tensor_was_renamed_or_resized() -> None:
    teacher = _chain(9)
    student = with_noise(teacher)
    renamed = next(t for node in student.nodes for t in node.outputs if t.name == "r2")
    renamed.name = "other"
    assert _borders(student, teacher)[0] == (("x",), ("c2",))
    resized = with_noise(teacher)
    at = next(i for i, node in enumerate(resized.nodes) if node.outputs[0].name == "c2")
    resized.nodes[at].attrs["strides"] = [2, 2]
    assert "r2" not in shared_tensors(resized, teacher)


def test_skip_connections_are_tensors_of_a_cut() -> None:
    weights = {f"w{n}": _normal(n, 4, 4, 1, 1) for n in range(8)}
    graph = graph_of(
        """g (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {
            a = Conv (x, w0) b = Conv (a, w1) c = Conv (b, w2) d = Conv (c, w3)
            e = Conv (d, w4) f = Conv (e, w5) h = Conv (f, w6) i = Add (h, a)
            y = Conv (i, w7)
        }""",
        weights,
    )
    borders = _borders(with_noise(graph), graph)
    assert borders[0] == (("x",), ("c", "a")) or set(borders[0][1]) == {"c", "a"}
    assert "a" in borders[1][0]


def test_sizes_of_the_input_are_computed_in_every_block() -> None:
    weights = {f"w{n}": _normal(n, 4, 4, 1, 1) for n in range(6)}
    graph = graph_of(
        """g (float[N, 4, 6, 6] x) => (float[] y) {
            s = Shape <start = 0, end = 1> (x)
            m = Constant <value = int64[1] {-1}> ()
            t = Concat <axis = 0> (s, m)
            a = Conv (x, w0) b = Conv (a, w1) c = Conv (b, w2) d = Conv (c, w3)
            e = Conv (d, w4) f = Conv (e, w5)
            y = Reshape (f, t)
        }""",
        weights,
    )
    assert _borders(with_noise(graph), graph) == [(("x",), ("c",)), (("c", "x"), ("y",))]


# The closed form


def _solved(
    whole: gs.Graph, student: gs.Graph, samples: Array, result: str = "y"
) -> tuple[dict[str, Array], float, float]:
    context = Context(student)
    bench = LayerSolver(student, frozenset({result}), frozenset(), context)
    assert len(bench.layers) == 1
    given = [{"x": samples[i : i + 8]} for i in range(0, len(samples), 8)]
    run = planish.ir.run.reference.Reference(whole)
    seen = [bench.look(run(feed), len(given), [0, i]) for i, feed in enumerate(given)]
    target = run({"x": samples})[result]

    def error(graph: gs.Graph) -> float:
        found = planish.ir.run.reference.Reference(graph)({"x": samples})[result]
        return float(np.square(found - target).mean() / target.var())

    before = error(student)
    values = bench.solve(lambda: iter(given), seen, error)
    return values, before, error(bench.graph)


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ("y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", {"w": (6, 4, 3, 3), "b": (6,)}),
        ("y = Conv <strides = [2, 2], group = 2> (x, w)", {"w": (6, 2, 3, 3)}),
        ("y = Conv <group = 4> (x, w, b)", {"w": (4, 1, 3, 3), "b": (4,)}),
        ("y = ConvTranspose <strides = [2, 2]> (x, w, b)", {"w": (4, 5, 3, 3), "b": (5,)}),
        ("f = Flatten (x) y = Gemm (f, w, b)", {"w": (144, 3), "b": (3,)}),
        ("f = Flatten (x) y = Gemm <transB = 1> (f, w, b)", {"w": (3, 144), "b": (3,)}),
        ("f = Flatten (x) y = MatMul (f, w)", {"w": (144, 3)}),
        ("f = Flatten (x) p = MatMul (f, w) y = Add (p, b)", {"w": (144, 3), "b": (1, 3)}),
    ],
)
def test_a_layer_is_found_again_from_its_data(body: str, shapes: dict[str, Any]) -> None:
    """Noise on the weights is gone: with enough samples only the teacher's weights fit."""
    text = f"g (float[N, 4, 6, 6] x) => (float[] y) {{ {body} }}"
    held = {name: _normal(5 + i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    broken = {name: array + 0.5 * _normal(9, *array.shape) for name, array in held.items()}
    values, before, after = _solved(
        graph_of(text, held), graph_of(text, broken), _normal(0, 400, 4, 6, 6)
    )
    assert values.keys() == held.keys()
    assert before > 0.05
    assert after < before / 500
    for name, array in values.items():
        assert array.shape == held[name].shape
        assert array.dtype == np.float32
        assert np.abs(array - held[name]).max() < np.abs(broken[name] - held[name]).max() / 5


def test_masked_weights_stay_and_the_others_make_up_for_them() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { m = Mul (w, w_mask) y = Conv (x, m, b) }"
    plain = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w, b) }"
    held = {"w": _normal(1, 6, 4, 3, 3), "b": _normal(2, 6)}
    mask = (np.random.default_rng(3).random((6, 4, 3, 3)) < 0.5).astype(np.float32)
    mask[0] = 0  # a row of nothing
    samples = _normal(0, 200, 4, 6, 6) @ _normal(4, 6, 6) / 2  # correlated pixels
    values, before, after = _solved(
        graph_of(plain, held), graph_of(text, held | {"w_mask": mask}), samples
    )
    np.testing.assert_array_equal(values["w"][mask == 0], held["w"][mask == 0])
    assert after < before
    # What numpy's least squares says of one row.
    patches = np.lib.stride_tricks.sliding_window_view(samples, (3, 3), (2, 3))
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 36).astype(np.float64)
    target = rows @ held["w"][3].reshape(-1) + held["b"][3]
    columns = np.flatnonzero(mask[3].reshape(-1))
    design = np.column_stack([rows[:, columns], np.ones(len(rows))])
    best = np.linalg.lstsq(design, target, rcond=None)[0]
    error = np.square(design @ best - target).mean()
    mine = np.append(values["w"][3].reshape(-1)[columns], values["b"][3])
    assert np.square(design @ mine - target).mean() < 1.05 * error


def test_weights_that_the_samples_say_nothing_about_stay() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w, b) }"
    held = {"w": _normal(1, 6, 4, 1, 1), "b": _normal(2, 6)}
    broken = {name: array + _normal(9, *array.shape) for name, array in held.items()}
    samples = _normal(0, 100, 4, 6, 6)
    samples[:, 2] = 0
    values, _, _ = _solved(graph_of(text, held), graph_of(text, broken), samples)
    np.testing.assert_allclose(values["w"][:, 2], broken["w"][:, 2], rtol=1e-5)
    assert np.abs(values["w"][:, 1] - held["w"][:, 1]).max() < 0.05


def test_a_solution_that_does_not_help_is_not_taken() -> None:
    text = "g (float[N, 4, 6, 6] x) => (float[] y) { y = Conv (x, w) }"
    whole = graph_of(text, {"w": _normal(1, 6, 4, 3, 3)})
    values, before, after = _solved(whole, clone(whole), _normal(0, 32, 4, 6, 6))
    assert values == {}
    assert before == after == 0


# Losses


def test_the_distillation_loss_by_hand() -> None:
    student, teacher = _normal(0, 7, 5).astype(np.float64), _normal(1, 7, 5).astype(np.float64)
    found = soft_cross_entropy(torch.tensor(student), torch.tensor(teacher), 3.0)

    def softmax(scores: Array) -> Array:
        raised = np.exp(scores / 3 - (scores / 3).max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    assert float(found) == pytest.approx(9 * (p * np.log(p / q)).sum(1).mean(), rel=1e-9)


def _objective(activation: str = "", **options: Any) -> Objective:
    given: dict[str, Any] = {"distill": 1.0, "temperature": 2.0, "feature_weight": 0.0} | options
    return Objective(outputs=("y",), activations={"y": activation}, features=("f",), **given)


def test_probabilities_and_scores_have_one_loss() -> None:
    a, b = (torch.tensor(_normal(seed, 6, 4)) for seed in (0, 1))
    scores = _objective()({"y": a}, {"y": b}, None)
    probabilities = _objective("Softmax")({"y": a.softmax(1)}, {"y": b.softmax(1)}, None)
    assert float(scores) == pytest.approx(float(probabilities), rel=1e-4)
    flat = _objective()({"y": a[..., None, None]}, {"y": b[..., None, None]}, None)
    assert float(scores) == pytest.approx(float(flat))


def test_the_terms_of_the_objective() -> None:
    student = {"y": torch.tensor(_normal(0, 6, 4)), "f": torch.tensor(_normal(1, 6, 3, 2, 2))}
    teacher = {"y": torch.tensor(_normal(2, 6, 4)), "f": torch.tensor(_normal(3, 6, 3, 2, 2))}
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    soft = soft_cross_entropy(student["y"], teacher["y"], 2.0)
    hard = nn.functional.cross_entropy(student["y"], labels)
    error = student["f"] - teacher["f"]
    feature = (error**2).mean() / teacher["f"].numpy().var().item()
    total = _objective(distill=0.5, feature_weight=0.25)(student, teacher, labels)
    assert float(total) == pytest.approx(float(0.5 * soft + hard + 0.25 * feature), rel=1e-5)
    assert float(_objective(distill=0.0)(student, teacher, labels)) == pytest.approx(float(hard))
    top, right = _objective().hits(student, teacher, labels) or (None, None)
    assert top is not None
    assert right is not None
    assert top.tolist() == (student["y"].argmax(1) == teacher["y"].argmax(1)).tolist()
    assert right.tolist() == (student["y"].argmax(1) == labels).tolist()


@pytest.mark.parametrize("shape", [(6, 4, 5, 5), (6, 4, 2), (6, 1)])
def test_other_outputs_have_a_squared_error(shape: tuple[int, ...]) -> None:
    a, b = torch.tensor(_normal(0, *shape)), torch.tensor(_normal(1, *shape))
    objective = _objective()
    assert objective.hits({"y": a}, {"y": b}, None) is None
    expected = ((a - b) ** 2).mean() / b.numpy().var().item()
    assert float(objective({"y": a}, {"y": b}, None)) == pytest.approx(float(expected), rel=1e-5)
    assert float(normalized_error(a, b)) == pytest.approx(float(expected), rel=1e-5)


# Statistics of normalizations


def test_statistics_are_those_of_torch_with_cumulative_average() -> None:
    text = """g (float[N, 3, 5, 5] x) => (float[] y) {
        c = Conv (x, w) y = BatchNormalization (c, s, b, m, v)
    }"""
    held = {"w": _normal(0, 4, 3, 3, 3), "s": _normal(1, 4), "b": _normal(2, 4)}
    held |= {"m": _normal(3, 4), "v": np.abs(_normal(4, 4)) + np.float32(0.1)}
    module = planish.to_fx(graph_of(text, held))
    batches = [torch.tensor(_normal(seed, 6, 3, 5, 5) * (1 + seed)) for seed in range(4)]

    def passes() -> None:
        for batch in batches:
            module(batch)

    assert reestimate(module, passes)
    conv = nn.Conv2d(3, 4, 3, bias=False)
    own = nn.Sequential(conv, nn.BatchNorm2d(4, momentum=None)).train()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(held["w"]))
        means = [conv(batch).mean((0, 2, 3)) for batch in batches]
        for batch in batches:
            own(batch)
    found = planish.from_fx(module)
    values = {t.name: t.values for n in found.nodes for t in n.inputs if isinstance(t, gs.Constant)}
    np.testing.assert_allclose(values["m"], own[1].running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values["v"], own[1].running_var, rtol=1e-5)
    np.testing.assert_allclose(values["m"], torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(values["s"], held["s"])
    assert not any(part.training for part in module.modules())
    assert not reestimate(planish.to_fx(_chain(1)), lambda: None)


def test_statistics_that_nothing_was_seen_of_stay() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(2)
    reestimate(norm.eval(), lambda: None)
    assert norm.running_mean.tolist() == [2, 2, 2]
    assert norm.momentum == 0.1
    with training_batchnorm(norm, True):
        assert norm.training
    assert not norm.training


# Images


def test_maps_flip_turn_and_cut() -> None:
    image = torch.tensor(_normal(0, 1, 2, 5, 5))
    identity = apply_maps(image, draw_maps((), 1, [0], 1.0))
    np.testing.assert_allclose(identity, image, atol=1e-5)
    flips = [apply_maps(image, draw_maps(("flip",), 1, [seed], 1.0)) for seed in range(20)]
    straight = [torch.allclose(found, image, atol=1e-5) for found in flips]
    mirrored = [torch.allclose(found, image.flip(3), atol=1e-5) for found in flips]
    assert all(a != b for a, b in zip(straight, mirrored, strict=True))
    assert 3 < sum(mirrored) < 17
    maps = draw_maps(("rotate",), 200, [0], 1.0)
    turns = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 8 < np.abs(turns).max() <= 10
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), 1, atol=1e-6)
    windows = draw_maps(("crop",), 200, [0], 1.0)
    corners = np.abs(windows[:, :, 2]) + np.abs(windows[:, [0, 1], [0, 1]])
    assert corners.max() <= 1 + 1e-6
    assert windows[:, 0, 0].min() < 0.82


def test_a_turned_circle_of_a_wide_image_stays_a_circle() -> None:
    height, width = 40, 80
    maps = draw_maps(("rotate",), 1, [3], height / width)
    # In pixels the map is a rotation: lengths stay.
    scale = np.diag([width / 2, height / 2])
    pixels = scale @ maps[0, :, :2].astype(np.float64) @ np.linalg.inv(scale)
    np.testing.assert_allclose(pixels @ pixels.T, np.eye(2), atol=1e-6)
    assert math.degrees(abs(math.atan2(pixels[1, 0], pixels[0, 0]))) > 0.5


def test_maps_of_a_share_are_those_of_the_batch() -> None:
    whole = draw_maps(("flip", "crop", "rotate"), 8, [1, 2], 1.0)
    assert whole.shape == (8, 2, 3)
    again = draw_maps(("flip", "crop", "rotate"), 8, [1, 2], 1.0)
    np.testing.assert_array_equal(whole, again)


# Samples and modules


def test_an_eighth_judges_and_units_stay_whole() -> None:
    graph = graph_of("g (float[4, 2] x) => (float[4, 2] y) { y = Relu (x) }")
    values = np.arange(80, dtype=np.float32).reshape(40, 2)
    given = [{"x": values[i : i + 4]} for i in range(0, 40, 4)]
    with Samples(graph, given, (), 0) as samples:
        assert (samples.count, samples.unit, samples.trained) == (40, 4, 36)
        assert sorted(samples.order) == list(range(40))
        units = samples.order.reshape(-1, 4)
        assert (units == units[:, :1] + np.arange(4)).all()
        assert [len(chunk) for chunk in samples.chunks()] == [4] * 10
        np.testing.assert_array_equal(samples.at(np.array([3]))["x"], values[samples.order[[3]]])
        fed = np.concatenate([feed["x"] for feed in samples.feeds()])
        np.testing.assert_array_equal(fed, values[samples.order])
        first = samples.digest()
    given[3] = {"x": given[3]["x"] + 1}
    with Samples(graph, given, (), 0) as samples:
        assert samples.digest() != first


def test_inputs_without_a_common_batch_are_refused() -> None:
    graph = graph_of("g (float[N, 2] x, float[M, 2] z) => (float[] y) { y = Add (x, z) }")
    given = [{"x": np.zeros((4, 2), np.float32), "z": np.zeros((1, 2), np.float32)}]
    with pytest.raises(FeedError, match="no common first axis"):
        Samples(graph, given, (), 0)


def test_what_does_not_train_is_not_changed_by_a_bit() -> None:
    text = """g (double[N, 3] x) => (double[N, 3] y, double[N, 3] z) {
        y = MatMul (x, w) z = MatMul (x, v)
    }"""
    held = {name: np.random.default_rng(i).standard_normal((3, 3)) for i, name in enumerate("wv")}
    graph = graph_of(text, held)
    example = {"x": np.ones((2, 3))}
    trainable = Trainable(graph, example, frozenset(), None)
    assert trainable.values() == {}
    trainable.free_unused(lambda: trainable(to_tensors(example))["y"].sum())
    named = dict(trainable.module.named_parameters())
    assert [name for name, p in named.items() if p.requires_grad] == ["matmul.weight"]
    with torch.no_grad():
        next(p for p in named.values() if p.requires_grad).add_(1)
    found = trainable.values()
    assert list(found) == ["w"]
    assert found["w"].dtype == np.float64
    np.testing.assert_allclose(found["w"], held["w"] + 1, atol=1e-6)


def test_constants_others_read_are_frozen() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) { h = MatMul (x, w) y = MatMul (h, v) }"
    graph = graph_of(text, {"w": _normal(0, 3, 3), "v": _normal(1, 3, 3)})
    trainable = Trainable(graph, {"x": _normal(2, 2, 3)}, {"w"}, None)
    assert [n for n, p in trainable.module.named_parameters() if p.requires_grad] == [
        "matmul_1.weight"
    ]


def test_a_batch_size_is_freed_where_the_graph_allows_it(capfd: pytest.CaptureFixture[str]) -> None:
    text = """g (float[1, 3, 2, 2] x) => (float[1, 4] y) {{
        h = Conv (x, v)
        a = Constant <value = int64[1] {{1}}> ()
        b = Constant <value = int64[1] {{{size}}}> ()
        s = Concat <axis = 0> (a, b)
        r = Reshape (h, s)
        {end}
    }}"""
    held = {"v": _normal(0, 4, 3, 2, 2), "one": np.ones((1, 4), np.float32)}
    held["c"] = _normal(1, 1, 4)
    frees = graph_of(text.format(size=4, end="y = Relu (r)"), held)
    frees.inputs[0].shape = [None, 3, 2, 2]
    example = {"x": _normal(2, 1, 3, 2, 2)}
    made = Trainable(frees, example, frozenset(), 1)
    assert made.unit is None
    assert made({"x": torch.zeros(5, 3, 2, 2)})["y"].shape == (5, 4)
    bound = graph_of(
        text.format(size=4, end="t = Concat <axis = 0> (r, c) y = ReduceSum (t)"), held
    )
    assert Trainable(bound, example, frozenset(), 1).unit == 1
    assert capfd.readouterr().err == ""


# Recipes


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "onecycle"])
def test_every_optimizer_goes_with_every_schedule(optimizer: Any, schedule: Any) -> None:
    recipe = Recipe(
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=0.1,
        weight_decay=0.01,
        momentum=0.9,
        batch=4,
        epochs=3,
        steps=None,
        seed=0,
    )
    parameter = nn.Parameter(torch.ones(2))
    made = recipe.make_optimizer([parameter])
    assert type(made).__name__.lower() == optimizer
    assert made.param_groups[0]["weight_decay"] == 0.01
    planned = recipe.make_schedule(made, 9)
    rates = []
    for _ in range(9):
        rates.append(made.param_groups[0]["lr"])
        parameter.grad = torch.ones(2)
        made.step()
        planned.step() if len(rates) < 9 else None
    expected = {
        "constant": [0.1] * 9,
        "cosine": [0.05 * (1 + math.cos(math.pi * i / 9)) for i in range(9)],
        "step": [0.1] * 3 + [0.01] * 3 + [0.001] * 3,
    }
    if schedule in expected:
        np.testing.assert_allclose(rates, expected[schedule], rtol=1e-6)
    else:
        assert max(rates) == pytest.approx(0.1, rel=0.05)
        assert rates[0] < 0.01
        assert rates[-1] < 0.001
