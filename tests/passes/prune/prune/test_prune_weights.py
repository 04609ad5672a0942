"""prune: single weights, N:M and kernels; amounts, scopes, steps, what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
from torch.nn.utils import prune as torch_prune

import planish
from planish.ir.core.errors import FeedError, PassError, PipelineError
from planish.ir.core.variables import node_key
from planish.ir.ops.masks import read_masked

from tests.helpers import assert_same_function, model_using, ops, reasons, run_ort, run_pass

RNG = np.random.default_rng(0)
SHAPES = {"w": (6, 4, 3, 3), "v": (8, 6, 1, 1), "u": (5, 8)}


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def model():
    """Return Conv 3x3, Conv 1x1, pooling and Gemm, and weights of quite different size."""
    weights = {name: normal(*shape) for name, shape in SHAPES.items()}
    weights["v"] *= 10
    weights["b"] = normal(6)
    return model_using(
        weights,
        """a = Conv <kernel_shape=[3,3], pads=[1,1,1,1]> (x, w, b) r = Relu(a)
        c = Conv <kernel_shape=[1,1]> (r, v) p = GlobalAveragePool(c) f = Flatten(p)
        y = Gemm <transB=1> (f, u)""",
        "float[N, 4, 7, 7] x",
    )


def masks(graph):
    """Return the mask of every masked weight, as large as the weight."""
    found = {}
    for node in graph.nodes:
        masked = read_masked(node)
        if masked is not None:
            assert masked.weight.name not in found
            found[masked.weight.name] = np.broadcast_to(
                masked.mask.values, masked.weight.values.shape
            )
    return found


def weights_of(model):
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def pruned(model, options, **kwargs):
    kwargs.setdefault("verify", "off")
    result = run_pass(planish.load(model), f"prune{{{options}}}", **kwargs)
    planish.to_model(result.graph)
    return result


@pytest.mark.parametrize("criterion", ["l1", "l2"])
@pytest.mark.parametrize("amount", [0.0, 0.1, 0.333, 0.9])
def test_each_layer_loses_what_torch_prunes(model, criterion, amount):
    result = pruned(model, f"amount={amount},criterion={criterion},scope=layer")
    found = masks(result.graph)
    for name, weight in weights_of(model).items():
        if name == "b":
            assert name not in found
            continue
        layer = torch.nn.Linear(1, 1)
        layer.weight = torch.nn.Parameter(torch.from_numpy(weight.copy()))
        torch_prune.l1_unstructured(layer, "weight", amount=amount)
        expected = layer.weight_mask.numpy()
        np.testing.assert_array_equal(found.get(name, np.ones(weight.shape)), expected)


def test_nothing_but_masks_changes(model):
    result = pruned(model, "amount=0.5")
    assert [op for op in ops(result.graph) if op != "Mul"] == ops(planish.load(model))
    assert ops(result.graph).count("Mul") == result.edits == 3
    held = {t.name: t.values for n in result.graph.nodes for t in n.inputs if hasattr(t, "values")}
    for name, weight in weights_of(model).items():
        np.testing.assert_array_equal(held[name], weight)
    zeroed = {n: w * masks(result.graph).get(n, 1) for n, w in weights_of(model).items()}
    x = {"x": normal(2, 4, 7, 7)}
    expected = planish.load(model)
    for node in expected.nodes:
        for tensor in node.inputs:
            if tensor.name in zeroed:
                tensor.values = zeroed[tensor.name]
    assert_same_function(planish.to_model(expected), result.graph, x)


@pytest.mark.parametrize("amount", [0.25, 0.5, 0.97])
def test_one_amount_for_all_layers_is_exact_and_compares_by_lamp(model, amount):
    found = masks(pruned(model, f"amount={amount},criterion=l2").graph)
    held = {n: w for n, w in weights_of(model).items() if n != "b"}
    total = sum(w.size for w in held.values())
    assert sum(int((m == 0).sum()) for m in found.values()) == round(amount * total)

    # An oracle in quadratic time: each weight over all in its layer that are not smaller.
    scores = []
    for name in held:
        size = np.abs(held[name].reshape(-1).astype(np.float64))
        scores += [(s / size[size >= s].sum(), name, i) for i, s in enumerate(size)]
    gone = {(n, i) for _, n, i in sorted(scores)[: round(amount * total)]}
    for name, weight in held.items():
        flat = found.get(name, np.ones(weight.shape)).reshape(-1)
        assert {(name, i) for i in np.flatnonzero(flat == 0)} == {g for g in gone if g[0] == name}


def test_of_equal_weights_the_first_go_and_the_count_is_exact(model):
    graph = planish.load(model)
    for node in graph.nodes:
        for tensor in node.inputs:
            if tensor.name in SHAPES:
                tensor.values = np.ones(SHAPES[tensor.name], np.float32)
    result = run_pass(graph, "prune{amount=0.4,scope=layer}", verify="off")
    found = masks(result.graph)
    assert set(found) == set(SHAPES)
    for mask in found.values():
        count = round(0.4 * mask.size)
        np.testing.assert_array_equal(mask.reshape(-1), np.arange(mask.size) >= count)


@pytest.mark.parametrize("ratio", ["2:4", "1:4", "1:2", "3:4"])
def test_n_of_m_inputs_in_a_row_stay(model, ratio):
    stay, of = map(int, ratio.split(":"))
    result = pruned(model, f"granularity={ratio}")
    found = masks(result.graph)
    held = weights_of(model)
    assert set(found) == {n for n in SHAPES if SHAPES[n][1] % of == 0}
    for name, mask in found.items():
        shape = held[name].shape
        assert shape[1] % of == 0
        # [outputs, groups of M, M, taps]: of each M the N largest.
        split = (shape[0], shape[1] // of, of, -1)
        rows, sizes = mask.reshape(split), np.abs(held[name]).reshape(split)
        assert (rows.sum(axis=2) == stay).all()
        least = np.where(rows == 1, sizes, np.inf).min(axis=2)
        most = np.where(rows == 0, sizes, -np.inf).max(axis=2)
        assert (least >= most).all()
    if of == 4:
        assert reasons(result) == {"its 6 inputs are no multiple of 4"}


def test_what_is_masked_already_counts_among_n_of_m(model):
    sparse = pruned(model, "amount=0.4,criterion=random").graph
    text = "prune{granularity=2:4,criterion=random}"  # which scores what is masked like the rest
    after = run_pass(sparse, text, verify="off", seed=1).graph
    for name in ("w", "u"):
        shape = (SHAPES[name][0], SHAPES[name][1] // 4, 4, -1)
        before = masks(sparse)[name].reshape(shape).sum(axis=2)
        np.testing.assert_array_equal(
            masks(after)[name].reshape(shape).sum(axis=2), np.minimum(before, 2)
        )


@pytest.mark.parametrize(
    ("operator", "shape", "feed", "inputs_last"),
    [
        ("Conv <kernel_shape=[3], group=2> (x, w)", (6, 4, 3), (1, 8, 5), (0, 2, 1)),
        ("ConvTranspose <kernel_shape=[3], group=2> (x, w)", (8, 3, 3), (1, 8, 5), None),
        ("MatMul(x, w)", (8, 3), (2, 8), (1, 0)),
        ("Gemm(x, w)", (8, 3), (2, 8), (1, 0)),
        ("Gemm <transB=1> (x, w)", (3, 8), (2, 8), (0, 1)),
    ],
    ids=["group", "transposed", "matmul", "gemm", "gemm-transposed"],
)
def test_n_of_m_runs_along_the_inputs_of_every_operator(operator, shape, feed, inputs_last):
    sizes = ", ".join(map(str, feed))
    model = model_using({"w": normal(*shape)}, f"y = {operator}", f"float[{sizes}] x")
    mask = masks(pruned(model, "granularity=2:4").graph)["w"]
    if inputs_last is None:  # [C, M/g, k]: the inputs of a group are C / 2 rows
        rows = mask.reshape(2, 4, -1).swapaxes(1, 2)
    else:
        rows = mask.transpose(inputs_last)
    assert (rows.reshape(-1, 4).sum(axis=1) == 2).all()


def test_kernels_go_as_a_whole_and_only_where_there_are_taps(model):
    result = pruned(model, "granularity=kernel,amount=0.5")
    assert reasons(result) == {"its kernels are single weights; granularity=weight prunes those"}
    (mask,) = [node for node in result.graph.nodes if read_masked(node)]
    assert read_masked(mask).mask.values.shape == (6, 4, 1, 1)
    kept = read_masked(mask).mask.values.reshape(-1)
    sizes = np.abs(weights_of(model)["w"]).reshape(24, 9).sum(axis=1)
    assert kept.sum() == 12
    assert sizes[kept == 1].min() >= sizes[kept == 0].max()


def test_a_transposed_convolution_has_its_kernels_too():
    weight = normal(4, 6, 3)
    model = model_using(
        {"w": weight}, "y = ConvTranspose <kernel_shape=[3]> (x, w)", "float[1, 4, 5] x"
    )
    result = pruned(model, "granularity=kernel,amount=0.25,criterion=l2")
    kept = masks(result.graph)["w"][:, :, 0].reshape(-1)
    sizes = np.sqrt((weight.reshape(24, 3) ** 2).sum(axis=1))
    assert kept.sum() == 18
    assert sizes[kept == 1].min() >= sizes[kept == 0].max()


def test_steps_are_those_of_the_schedule(model):
    total = sum(np.prod(s) for s in SHAPES.values())

    def zeros(options):
        return sum(int((m == 0).sum()) for m in masks(pruned(model, options).graph).values())

    for step in (1, 2, 3):
        cubic = 0.9 * (1 - (1 - step / 3) ** 3)
        assert zeros(f"amount=0.9,steps=3,step={step}") == round(cubic * total)
        assert zeros(f"amount=0.9,steps=3,step={step},schedule=linear") == round(
            0.9 * step / 3 * total
        )
    assert zeros("amount=0.9,steps=3") == round(0.9 * total)


def test_steps_with_others_between_add_to_the_masks_that_are_there(model):
    steps = [f"prune{{amount=0.8,steps=3,step={n}}}" for n in (1, 2, 3)]
    results = [planish.Pipeline.parse(steps[0]).run(planish.load(model), verify="off")]
    for text in steps[1:]:
        results.append(planish.Pipeline.parse(text).run(results[-1].graph, verify="off"))
    for before, after in itertools.pairwise(results):
        first, second = masks(before.graph), masks(after.graph)
        assert all((second[name] <= first[name]).all() for name in first)
        assert sum(m.sum() for m in second.values()) < sum(
            first.get(n, np.ones(m.shape)).sum() for n, m in second.items()
        )
    last = results[-1].graph
    assert ops(last).count("Mul") == 3
    assert {read_masked(n).mask.name for n in last.nodes if n.op == "Mul"} == {
        "w_mask", "v_mask", "u_mask",
    }  # fmt: skip


def test_a_second_run_with_more_counts_what_is_masked(model):
    once = pruned(model, "amount=0.3,criterion=random").graph
    twice = run_pass(once, "prune{amount=0.5,criterion=l1}", verify="off").graph
    total = sum(np.prod(s) for s in SHAPES.values())
    assert sum(int((m == 0).sum()) for m in masks(twice).values()) == round(0.5 * total)
    for name, mask in masks(once).items():
        assert (masks(twice)[name] <= mask).all()
    less = run_pass(twice, "prune{amount=0.4}", verify="off")
    assert less.edits == 0


def test_chance_depends_on_the_seed_alone(model):
    def drawn(seed):
        result = planish.Pipeline.parse("prune{criterion=random,amount=0.5}").run(
            planish.load(model), verify="off", seed=seed
        )
        return masks(result.graph)

    first, again, other = drawn(3), drawn(3), drawn(4)
    assert all((first[n] == again[n]).all() for n in first)
    assert any((first[n] != other[n]).any() for n in first)
    total = sum(np.prod(s) for s in SHAPES.values())
    assert sum(int((m == 0).sum()) for m in first.values()) == total // 2
    # As torch's: every weight has the same chance.
    assert 0.3 < (first["w"] == 0).mean() < 0.7


def test_kernels_with_masked_weights_keep_those_masks(model):
    sparse = pruned(model, "amount=0.5,scope=layer").graph
    after = run_pass(sparse, "prune{granularity=kernel,amount=0.5}", verify="off").graph
    before, now = masks(sparse)["w"], masks(after)["w"]
    assert (now <= before).all()
    assert (now.reshape(24, 9) == 0).all(axis=1).sum() == 12


def test_excluded_layers_stay_and_do_not_count(model):
    graph = planish.load(model)
    node = graph.nodes[0]
    name = node.name or node.outputs[0].name
    found = masks(pruned(model, f"amount=0.5,exclude={name}").graph)
    assert set(found) <= {"v", "u"}
    assert sum(int((m == 0).sum()) for m in found.values()) == (48 + 40) // 2


def test_least_keeps_a_part_of_each_layer(model):
    found = masks(pruned(model, "amount=0.9,least=0.5,scope=layer").graph)
    assert {n: int(m.sum()) for n, m in found.items()} == {"w": 108, "v": 24, "u": 20}
    alone = masks(pruned(model, "amount=0.99,scope=layer").graph)
    assert all(m.sum() >= 1 for m in alone.values())


def test_a_shared_weight_has_one_mask(tmp_path):
    model = model_using(
        {"w": normal(4, 4)}, "a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", "float[N, 4] x"
    )
    result = pruned(model, "amount=0.5")
    assert ops(result.graph) == ["Mul", "MatMul", "Relu", "MatMul"]
    planish.save(result.graph, tmp_path / "masked.onnx")
    again = planish.load(tmp_path / "masked.onnx")
    assert {n: m.tolist() for n, m in masks(again).items()} == {
        n: m.tolist() for n, m in masks(result.graph).items()
    }
    assert run_pass(again, "prune{amount=0.5}", verify="off").edits == 0


def test_what_reads_a_masked_weight_and_is_no_layer_keeps_its_mask():
    held = {"w": normal(4, 4), "w_mask": np.ones((4, 4), np.float32)}
    held["w_mask"][0] = 0
    model = model_using(
        held, "wm = Mul(w, w_mask) a = MatMul(x, wm) y = Add(a, wm)", "float[4, 4] x"
    )
    graph = pruned(model, "amount=0.75").graph
    add, product = (next(n for n in graph.nodes if n.op == op) for op in ("Add", "MatMul"))
    np.testing.assert_array_equal(read_masked(add.inputs[1].inputs[0]).mask.values, held["w_mask"])
    mask = read_masked(product.inputs[1].inputs[0]).mask.values
    assert (mask == 0).sum() == 12
    assert (mask[0] == 0).all()
    assert run_pass(graph, "prune{amount=0.75}", verify="off").edits == 0


@pytest.mark.parametrize("opset", [9, 13, 22])
def test_weights_in_constant_nodes_are_pruned_too(opset):
    model = model_using(
        {"w": normal(3, 2)},
        """c = Constant <value = float[2, 3] {1.0, -2.0, 3.0, -4.0, 5.0, -6.0}> ()
        a = MatMul(x, c) y = MatMul(a, w)""",
        "float[N, 2] x",
        opset=opset,
    )
    result = pruned(model, "amount=0.5,scope=layer")
    found = masks(result.graph)
    np.testing.assert_array_equal(found["c"], [[0, 0, 0], [1, 1, 1]])
    assert "Constant" not in ops(result.graph)


def test_half_precision_masks_have_the_type_of_the_weight():
    model = model_using(
        {"w": normal(4, 4).astype(np.float16)}, "y = MatMul(x, w)", "float16[N, 4] x"
    )
    model.graph.output[0].type.tensor_type.elem_type = 10
    result = pruned(model, "amount=0.5")
    (node,) = [n for n in result.graph.nodes if n.op == "Mul"]
    assert read_masked(node).mask.values.dtype == np.float16
    planish.to_model(result.graph)


def test_fused_operators_are_opened(model):
    fused = planish.Pipeline.parse("fuse-conv-activation").run(planish.load(model), verify="off")
    assert any(n.domain == "planish" for n in fused.graph.nodes)
    result = run_pass(fused.graph, "prune{amount=0.5}", verify="off")
    assert len(masks(result.graph)) == 3


def test_masked_it_is_the_module_with_the_same_masks(model):
    result = pruned(model, "amount=0.6,criterion=l2")
    module = planish.to_fx(result.graph)
    x = normal(3, 4, 7, 7)
    expected = run_ort(planish.to_model(result.graph), {"x": x})["y"]
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x)), expected, rtol=1e-4, atol=1e-4)
    assert sum(int((b == 0).sum()) for n, b in module.named_buffers() if n.endswith("_mask")) == (
        round(0.6 * sum(np.prod(s) for s in SHAPES.values()))
    )


def test_the_remark_says_what_is_gone(model):
    result = pruned(model, "amount=0.5")
    total, layers = result.records[0].remarks
    assert total.startswith("152 of 304 weights are masked (50.0%)")
    assert "w " in layers
    again = planish.Pipeline.parse("prune{amount=0.5}").run(result.graph, verify="off")
    assert again.records[0].remarks == (
        "nothing more to prune: what was asked for is masked already",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("amount=1", "amount is 1.0; give a part in [0, 1), such as 0.5; pruning everything"),
        ("amount=1.5", "amount is 1.5; give a part in [0, 1)"),
        ("amount=-0.1", "amount is -0.1; give a part in [0, 1), such as 0.5"),
        ("amount=nan", "takes a number, not 'nan'"),
        ("granularity=2:4,amount=0.5", "granularity 2:4 says how much is pruned; leave amount out"),
        ("granularity=2:4,steps=2", "granularity 2:4 is pruned at once"),
        ("granularity=4:4", "granularity is 4:4, so that 4 of 4 weights stay"),
        ("granularity=0:4", "give 0 < N < M"),
        ("granularity=kernels", "did you mean 'kernel'?"),
        ("criterion=l3", "criterion is 'l3'; known are activation, apoz"),
        ("criterion=apoz", "criterion apoz scores whole channels, and granularity is weight"),
        ("steps=0", "steps is 0; give 1 or more"),
        ("steps=3,step=4", "step is 4, and steps is 3; give one from 1 to 3"),
        ("of=macs", "of is macs, and granularity is weight"),
        ("multiple=8", "multiple is 8, and granularity is weight"),
        ("granularity=channel,multiple=0", "multiple is 0; give 1 or more"),
        ("least=2", "least is 2.0; give a part in [0, 1]"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(PipelineError) as refusal:
        planish.Pipeline.parse(f"prune{{{options}}}")
    assert message in str(refusal.value)


def test_what_the_graph_lacks_is_refused(model):
    graph = planish.load(model)
    name = node_key(graph.nodes[0])
    with pytest.raises(PassError, match=f"exclude names the node '{name}x'.*did you mean '{name}'"):
        planish.Pipeline.parse(f"prune{{exclude={name}x}}").run(graph)
    with pytest.raises(PassError, match=r"amount is 0\.9999, which of 304 weights leaves none"):
        planish.Pipeline.parse("prune{amount=0.9999}").run(graph)
    with pytest.raises(FeedError, match="criterion taylor looks at data, and there are no feeds"):
        planish.Pipeline.parse("prune{criterion=taylor}").run(graph)


def test_layers_without_constant_weights_are_declined():
    model = model_using({"w": normal(3, 3)}, "a = MatMul(x, x) y = MatMul(a, w)", "float[3, 3] x")
    result = pruned(model, "amount=0.5")
    assert reasons(result) == {"the weight of MatMul is not constant"}
    assert set(masks(result.graph)) == {"w"}


def test_a_graph_without_layers_has_nothing_to_prune():
    model = model_using({}, "y = Relu(x)", "float[3, 3] x")
    result = pruned(model, "amount=0.5")
    assert result.edits == 0
    assert result.records[0].remarks == (
        "there is nothing to prune: no layer has weights that can go",
    )


def test_the_text_of_a_pass_reads_back():
    text = "prune{granularity=channel,amount=0.5,of=macs,steps=3,step=2,exclude=[a,b],multiple=8}"
    pipeline = planish.Pipeline.parse(text)
    assert planish.Pipeline.parse(str(pipeline)) == pipeline
    ratio = planish.Pipeline.parse("prune{granularity=2:4}")
    assert planish.Pipeline.parse(str(ratio)) == ratio
