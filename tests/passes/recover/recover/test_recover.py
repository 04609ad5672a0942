"""Accuracy lost by noise and masks comes back; what must not change does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import FeedError, PassError, PlanishError
from planish.ir.graph.clone import clone
from planish.passes.recover.recover import Recover, recover

from tests.helpers import graph_of, ops
from tests.passes.recover.recover.small import (
    accuracy,
    data,
    feeds,
    teacher,
    weights,
    with_masks,
    with_noise,
)

Array = np.ndarray[Any, Any]


def slow(options: dict[str, Any]) -> Any:
    """Return a parameter for `make test-slow`."""
    return pytest.param(options, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "blocks", "steps": 20},
        {"mode": "end-to-end", "epochs": 4},
        {"mode": "end-to-end", "epochs": 3, "features": 1.0},
        slow({"mode": "both", "steps": 20}),  # training/test_workers.py has two processes do it
        # What differs of these is tested in training/test_recipe.py.
        slow({"mode": "end-to-end", "epochs": 4, "optimizer": "rmsprop", "schedule": "step"}),
        slow({"mode": "end-to-end", "epochs": 8, "optimizer": "sgd", "schedule": "onecycle"}),
        slow({"mode": "end-to-end", "epochs": 4, "optimizer": "adamw", "weight_decay": 0.01}),
    ],
    ids=str,
)
def test_accuracy_lost_by_noise_comes_back(options: dict[str, Any]) -> None:
    whole = teacher()
    broken = with_noise(whole)
    assert accuracy(whole) >= 0.95
    assert accuracy(broken) <= 0.5
    remarks: list[str] = []
    found = recover(broken, whole, feeds(), remark=remarks.append, **options)
    assert accuracy(found) >= accuracy(whole) - 0.04
    assert ops(found) == ops(broken)
    assert "samples not trained on" in remarks[-1]
    assert "agreement" in remarks[-1]


@pytest.mark.parametrize("mode", ["blocks", "end-to-end"])
def test_masks_are_held(mode: str) -> None:
    whole = teacher()
    masked = with_masks(whole, 0.6)
    found = recover(masked, whole, feeds(600), mode=mode, steps=30, learning_rate=5e-3)
    assert accuracy(masked) <= 0.7
    assert accuracy(found) >= accuracy(whole) - 0.06
    before, after = weights(masked), weights(found)
    assert before.keys() == after.keys()
    for name in before:
        if name.endswith("_mask"):
            np.testing.assert_array_equal(before[name], after[name])
            # What lies below the mask is kept for those who take the mask away.
            weight, hidden = name.removesuffix("_mask"), before[name] == 0
            np.testing.assert_array_equal(before[weight][hidden], after[weight][hidden])
            assert not np.array_equal(before[weight], after[weight])


def test_labels_are_learned_from_where_the_teacher_says_nothing() -> None:
    whole = teacher()
    result = planish.Pipeline.parse("recover{mode=end-to-end,epochs=4,distill=0,labels=digit}").run(
        with_noise(whole), feeds(labels="digit"), verify="off"
    )
    assert accuracy(result.graph) >= 0.9
    assert "accuracy" in result.records[0].remarks[-1]


def test_maps_of_labels_are_learned_from() -> None:
    """A network of masks, its labels what the network without noise says, some left out."""
    text = """g (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w, b)  r = Relu (c)  y = Conv (r, v) }"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(size=8).astype(np.float32),
        "v": rng.normal(size=(4, 8, 1, 1)).astype(np.float32),
    }
    whole = graph_of(text, weights)
    x = rng.normal(size=(64, 3, 8, 8)).astype(np.float32)
    masks = planish.lower(whole)({"x": x})["y"].argmax(1)
    masks[:, 0] = 255
    given = [{"x": x, "mask": masks}]
    options = "mode=end-to-end,epochs=8,distill=0,labels=mask,augment=flip,learning-rate=0.02"
    result = planish.Pipeline.parse(f"recover{{{options}}}").run(
        with_noise(whole), given, verify="off"
    )
    now = planish.lower(result.graph)({"x": x})["y"].argmax(1)
    was = planish.lower(with_noise(whole))({"x": x})["y"].argmax(1)
    counted = masks != 255
    assert (now == masks)[counted].mean() > (was == masks)[counted].mean() + 0.05
    assert any("accuracy" in remark for remark in result.records[0].remarks)


def test_the_pipeline_gives_the_graph_before_compression_as_teacher() -> None:
    whole = teacher()

    class Break(planish.Pass):
        name = "break"
        exact = False

        def run(self, graph: gs.Graph, context: Any) -> gs.Graph:
            return with_noise(graph)

    pipeline = planish.Pipeline((Break(), Recover(steps=15)))
    result = pipeline.run(whole, feeds(600), verify="off")
    assert accuracy(result.graph) >= accuracy(whole) - 0.04
    assert result.records[1].edits > 0


def test_nothing_is_trained_where_nothing_differs() -> None:
    whole = teacher()
    result = planish.Pipeline.parse("recover").run(whole, feeds(100))
    assert result.edits == 0
    assert "nothing to recover" in result.records[0].remarks[0]


def test_blocks_that_do_not_differ_keep_their_weights() -> None:
    whole = teacher()
    broken = clone(whole)
    last = [node for node in broken.nodes if node.op == "Conv"][-1].inputs[1]
    last._values = (last.values * 0.5).astype(np.float32)
    found = weights(recover(broken, whole, feeds(300), steps=20))
    changed = {n for n, array in weights(whole).items() if not np.array_equal(array, found[n])}
    assert last.name in changed
    first = next(node for node in whole.nodes if node.op == "Conv").inputs[1].name
    assert first not in changed


@pytest.mark.parametrize("mode", ["blocks", "end-to-end"])
def test_the_same_seed_gives_the_same_bits(mode: str) -> None:
    whole = teacher()
    broken = with_noise(whole)
    first, again, other = (
        weights(recover(broken, whole, feeds(100), steps=5, seed=seed, mode=mode))
        for seed in (3, 3, 4)
    )
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)


def test_how_the_feeds_are_batched_does_not_matter() -> None:
    whole = teacher()
    broken = with_noise(whole)
    every = feeds(90, 90)[0]
    name = whole.inputs[0].name

    def one_by_one() -> Iterator[dict[str, Array]]:
        for index in range(90):
            yield {name: every[name][index : index + 1]}

    found = [
        weights(recover(broken, whole, given, steps=5))
        for given in ([every], one_by_one(), feeds(90, 7))
    ]
    for other in found[1:]:
        assert all(array.tobytes() == other[n].tobytes() for n, array in found[0].items())


@pytest.mark.parametrize("mode", [pytest.param("blocks", marks=pytest.mark.slow), "end-to-end"])
def test_a_graph_of_one_sample_trains_in_larger_batches(mode: str) -> None:
    whole = teacher(batch=1)
    broken = with_noise(whole)
    found = recover(broken, whole, feeds(150, 1), mode=mode, steps=30)
    assert accuracy(found) >= accuracy(whole) - 0.12
    assert list(found.inputs[0].shape) == [1, 1, 8, 8]


def test_a_graph_that_needs_its_batch_size_trains_at_it() -> None:
    text = """g (float[2, 6] x) => (float[2, 3] y) {
        s = Constant <value = int64[3] {2, 2, 3}> ()
        h = MatMul (x, w)
        r = Relu (h)
        t = Reshape (r, s)
        u = ReduceSum <keepdims = 0> (t, a)
        y = MatMul (u, v)
    }"""
    generator = np.random.default_rng(0)
    held = {
        "w": generator.standard_normal((6, 6)).astype(np.float32),
        "v": generator.standard_normal((3, 3)).astype(np.float32),
        "a": np.array([1]),
    }
    whole = graph_of(text, held)
    broken = with_noise(whole, 1.0)
    samples = generator.standard_normal((64, 2, 6)).astype(np.float32)
    given = [{"x": each} for each in samples]
    for mode in ("blocks", "end-to-end"):
        found = recover(broken, whole, given, mode=mode, steps=100, learning_rate=0.02)
        before, after = (planish.compare(whole, g, given) for g in (broken, found))
        assert after.sqnr_db > before.sqnr_db + 6


def test_half_precision_trains_in_float32_and_is_stored_back() -> None:
    whole = planish.Pipeline.parse("convert-precision").run(teacher(), feeds(64)).graph
    broken = with_noise(whole)
    for mode in ("blocks", "end-to-end"):
        found = recover(broken, whole, feeds(300), mode=mode, steps=40)
        assert accuracy(found) >= accuracy(whole) - 0.06
        for name, array in weights(found).items():
            assert array.dtype == weights(broken)[name].dtype


def test_a_loss_of_ones_own() -> None:
    whole = teacher()
    called = []

    def loss(student: dict[str, Any], teacher: dict[str, Any], labels: Any) -> Any:
        called.append(labels)
        (mine,), (theirs,) = student.values(), teacher.values()
        return (mine - theirs).abs().mean()

    found = recover(with_noise(whole), whole, feeds(600), mode="end-to-end", epochs=8, loss=loss)
    assert accuracy(found) >= accuracy(whole) - 0.08
    assert set(called) == {None}


def test_augmented_images_reach_teacher_and_student() -> None:
    whole = teacher()
    found = recover(
        with_noise(whole),
        whole,
        feeds(),
        mode="end-to-end",
        epochs=4,
        augment=("crop", "rotate"),
    )
    assert accuracy(found) >= accuracy(whole) - 0.06


def test_training_that_diverges_keeps_the_best_and_says_so() -> None:
    whole = teacher()
    broken = with_noise(whole, 0.2)
    remarks: list[str] = []
    found = recover(
        broken,
        whole,
        feeds(300),
        mode="end-to-end",
        optimizer="sgd",
        learning_rate=1e6,
        schedule="constant",
        batchnorm="keep",
        steps=40,
        remark=remarks.append,
    )
    assert accuracy(found) >= accuracy(broken) - 1e-9
    assert any("learning-rate" in text for text in remarks)


def test_a_result_that_is_worse_is_not_taken() -> None:
    whole = teacher()
    broken = with_noise(whole, 0.02)
    found = recover(broken, whole, feeds(16), steps=30, learning_rate=0.5)
    run = [planish.compare(whole, g, feeds(200)).sqnr_db for g in (broken, found)]
    assert run[1] >= run[0] - 3


def test_networks_that_share_nothing_inside_are_trained_as_one() -> None:
    whole = teacher()
    broken = with_noise(whole)
    for number, node in enumerate(broken.nodes):
        for tensor in node.outputs:
            if tensor.name not in {t.name for t in broken.outputs}:
                tensor.name = f"other_{number}"
    remarks: list[str] = []
    found = recover(broken, whole, feeds(), epochs=4, remark=remarks.append)
    assert accuracy(found) >= accuracy(whole) - 0.04
    assert "share no tensors inside" in remarks[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("recover{epochs=0}", "epochs is 0"),
        ("recover{batch=0}", "batch is 0"),
        ("recover{epochs=2,steps=3}", "give one of them"),
        ("recover{temperature=0}", "temperature is 0"),
        ("recover{learning-rate=-1}", "learning-rate is -1"),
        ("recover{distill=-1}", "distill is -1"),
        ("recover{distill=0}", "nothing to learn from"),
        ("recover{momentum=1}", "momentum is 1"),
        ("recover{optimizer=adan}", "did you mean 'adam'"),
        ("recover{schedule=cosin}", "did you mean 'cosine'"),
        ("recover{augment=[flop]}", "did you mean 'flip'"),
        ("recover{mode=block}", "did you mean 'blocks'"),
    ],
)
def test_options_out_of_range_are_refused(text: str, reason: str) -> None:
    with pytest.raises(PlanishError, match=reason):
        planish.Pipeline.parse(text)


def test_options_from_python_are_checked_too() -> None:
    with pytest.raises(PassError, match="optimizer is 'lbfgs'"):
        Recover(optimizer="lbfgs")  # type: ignore[arg-type]
    with pytest.raises(PassError, match="augment names 'blur'"):
        Recover(augment=("blur",))  # type: ignore[arg-type]


def test_without_feeds_it_refuses() -> None:
    with pytest.raises(FeedError, match="no feeds were given"):
        planish.Pipeline.parse("recover").run(with_noise(teacher()))


def test_a_teacher_with_another_interface_is_refused() -> None:
    other = clone(teacher())
    other.outputs[0].name = "scores"
    with pytest.raises(PassError, match="teacher's outputs are 'scores'"):
        recover(teacher(), other, feeds(16))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros(16, np.float32), "whole number a sample"),
        (np.zeros((16, 2), np.int64), "whole number a sample"),
        (np.full(16, 10), "10 classes"),
        (np.full(16, -1), "from -1"),
        (np.zeros(15, np.int64), "no common first axis"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Array, reason: str) -> None:
    whole = teacher()
    given = [{whole.inputs[0].name: data()[0][:16], "digit": labels}]
    with pytest.raises(FeedError, match=reason):
        recover(with_noise(whole), whole, given, labels="digit", mode="end-to-end", steps=1)


def test_samples_of_several_shapes_are_refused() -> None:
    text = "g (float[N, 3, H, W] x) => (float[N, 3, H, W] y) { y = Conv (x, w) }"
    weight = np.ones((3, 3, 1, 1), np.float32)
    whole, broken = graph_of(text, {"w": weight}), graph_of(text, {"w": 2 * weight})
    given = [{"x": np.ones((1, 3, size, 4), np.float32)} for size in (4, 5)]
    with pytest.raises(FeedError, match="one shape"):
        recover(broken, whole, given)


def test_no_samples_and_one_sample() -> None:
    whole = teacher()
    with pytest.raises(FeedError, match="there are no feeds"):
        recover(with_noise(whole), whole, [])
    remarks: list[str] = []
    recover(with_noise(whole), whole, feeds(1), steps=2, remark=remarks.append)
    assert "the only samples" in remarks[-1]


def test_a_node_without_counterpart_is_named() -> None:
    text = """g (float[N, 2, 2] x) => (float[N] y) { h = MatMul (x, w) y = Det (h) }"""
    whole = graph_of(text, {"w": np.eye(2, dtype=np.float32)})
    samples = np.random.default_rng(0).standard_normal((64, 2, 2)).astype(np.float32)
    with pytest.raises(PlanishError, match="Det -> 'y' cannot be put into PyTorch"):
        recover(with_noise(whole), whole, [{"x": samples}], mode="end-to-end", steps=2)


def test_a_block_that_cannot_be_trained_is_solved_and_named() -> None:
    nodes = [f"c{n} = Conv ({'x' if n == 0 else f'c{n - 1}'}, w{n})" for n in range(6)]
    text = f"""g (float[N, 4, 2, 2] x) => (float[N, 4] y, float[N, 4, 2, 2] z) {{
        {" ".join(nodes)}
        z = Relu (c5)
        y = Det (c5)
    }}"""
    generator = np.random.default_rng(0)
    held = {f"w{n}": generator.standard_normal((4, 4, 1, 1)).astype(np.float32) for n in range(6)}
    whole = graph_of(text, held)
    given = [{"x": generator.standard_normal((256, 4, 2, 2)).astype(np.float32)}]
    broken = with_noise(whole)
    remarks: list[str] = []
    found = recover(broken, whole, given, steps=5, remark=remarks.append)
    assert any("Det" in text for text in remarks)
    before, after = (planish.compare(whole, graph, given) for graph in (broken, found))
    assert after.sqnr_db > before.sqnr_db + 10
