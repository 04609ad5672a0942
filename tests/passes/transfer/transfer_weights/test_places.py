"""Weights whose names tell nothing, paired by where they stand in the network."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import PassError, PipelineError
from planish.passes.transfer.transfer_weights import transfer_weights
from planish.passes.transfer.transfer_weights.report import TransferReport, TransferRow

from tests.helpers import model_using, relative_error, run_ort

# A block with a shortcut, a squeeze and a SiLU; what differs between the spellings is no place.
BLOCK = """c = Conv <pads = [1, 1, 1, 1]> (x, {0}) s = Sigmoid (c) a = Mul (c, s)
    d = Conv <pads = [1, 1, 1, 1]> (a, {1}) q = GlobalAveragePool (d) e = Conv (q, {2})
    g = Sigmoid (e) m = Mul (d, g) t = Conv (x, {3}) u = Add (m, t) r = Relu (u)
    p = GlobalAveragePool (r) f = Flatten (p) y = Gemm <transB = 1> (f, {4}, {5})"""
# The same function: branches in another order, operands swapped, a matrix turned, other spellings.
OTHER = """t = Conv (x, {3}) c = Conv <pads = [1, 1, 1, 1]> (x, {0}) s = Sigmoid (c) a = Mul (s, c)
    d = Conv <pads = [1, 1, 1, 1]> (a, {1}) q = ReduceMean <axes = [2, 3]> (d) e = Conv (q, {2})
    g = Sigmoid (e) m = Mul (g, d) u = Add (t, m) r = Max (u, val_0)
    p = ReduceMean <axes = [2, 3], keepdims = 0> (r) h = MatMul (p, {4}) y = Add ({5}, h)"""
SHAPES = ((4, 4, 3, 3), (4, 4, 3, 3), (4, 4, 1, 1), (4, 4, 1, 1), (4, 4), (4,))
IMAGE = "float[N, 4, 6, 6] x"
X = np.random.default_rng(9).standard_normal((2, 4, 6, 6)).astype(np.float32)


def made_up(first):
    return [f"onnx__Conv__{first + place}" for place in range(len(SHAPES))]


def graph(seed, body, names, *, turned=False):
    generator = np.random.default_rng(seed)
    held = {n: generator.standard_normal(s) for n, s in zip(names, SHAPES, strict=True)}
    held = {name: values.astype(np.float32) for name, values in held.items()}
    if turned:
        held[names[4]] = held[names[4]].T.copy()
    held["val_0"] = np.float32(0)
    return planish.load(model_using(held, body.format(*names), IMAGE, opset=13))


def outputs(graph, x=X):
    (found,) = run_ort(planish.to_model(graph), {graph.inputs[0].name: x}).values()
    return found


@pytest.mark.parametrize("swap", [False, True])
def test_weights_find_their_place_in_another_spelling_of_the_network(swap):
    target = graph(0, BLOCK, made_up(10))
    source = graph(1, OTHER, made_up(40), turned=True)
    if swap:
        target, source = source, target
    found, report = transfer_weights(target, source, by="place")
    assert len(report.of("taken")) == 6
    assert not report.of("unused")
    assert relative_error(outputs(source), outputs(found)) <= 1e-5
    with pytest.raises(PassError, match="its name was made up by an exporter; by=place"):
        transfer_weights(target, source)


def test_names_that_were_counted_up_count_where_all_are_in_common():
    source = graph(1, BLOCK, made_up(10))
    found, report = transfer_weights(graph(0, BLOCK, made_up(10)), source)
    assert len(report.of("taken")) == 6
    assert np.array_equal(outputs(found), outputs(source))
    # One of another network: five names of six are in common, and mean other layers.
    other = graph(1, BLOCK, made_up(11))
    with pytest.raises(PassError, match="no weight could be taken"):
        transfer_weights(graph(0, BLOCK, made_up(10)), other)


def test_names_come_before_places():
    names = ["one", "two", "three", "four", "five", "six"]
    swapped = ["two", "one", "three", "four", "five", "six"]
    source = graph(1, BLOCK, swapped)
    found, _ = transfer_weights(graph(0, BLOCK, names), source, by="place")
    held = {t.name: t.values for n in found.nodes for t in n.inputs if hasattr(t, "values")}
    theirs = {t.name: t.values for n in source.nodes for t in n.inputs if hasattr(t, "values")}
    assert np.array_equal(held["one"], theirs["one"])
    assert np.array_equal(held["two"], theirs["two"])


def test_weights_that_stand_alike_are_left():
    body = "a = Conv (x, {0}) b = Conv (x, {1}) u = Add (a, b) y = Conv (u, {2})"
    pointwise = ((4, 4, 1, 1),) * 3

    def made(seed, first):
        names = made_up(first)[:3]
        generator = np.random.default_rng(seed)
        held = {
            n: generator.standard_normal(s).astype(np.float32)
            for n, s in zip(names, pointwise, strict=True)
        }
        return planish.load(model_using(held, body.format(*names), IMAGE))

    _, report = transfer_weights(made(0, 10), made(1, 40), by="place")
    assert [row.name for row in report.of("taken")] == ["onnx__Conv__12"]
    assert [row.note for row in report.of("left")] == [
        "another weight stands in a place like its own"
    ] * 2
    # What they lead to tells branches apart.
    concat = body.replace("Add (a, b)", "Concat <axis = 1> (a, b)").replace("y = Conv (u, {2})", "")
    concat = concat.replace("u = ", "y = ")
    names = made_up(10)[:2]
    held = {n: np.full((4, 4, 1, 1), i, np.float32) for i, n in enumerate(names)}
    target = planish.load(model_using(held, concat.format(*names, ""), IMAGE))
    other = made_up(40)[:2]
    held = {n: np.full((4, 4, 1, 1), i + 5, np.float32) for i, n in enumerate(other)}
    swapped = concat.replace(
        "a = Conv (x, {0}) b = Conv (x, {1})", "b = Conv (x, {1}) a = Conv (x, {0})"
    )
    source = planish.load(model_using(held, swapped.format(*other, ""), IMAGE))
    found, _ = transfer_weights(target, source, by="place")
    assert np.array_equal(outputs(found), outputs(source))


def test_another_network_gives_nothing():
    other = BLOCK.replace("u = Add (m, t)", "u = Concat <axis = 0> (m, t)")
    with pytest.raises(PassError, match="no weight of the source, or several, stand"):
        transfer_weights(graph(0, BLOCK, made_up(10)), graph(1, other, made_up(40)), by="place")
    with pytest.raises(PipelineError, match="by"):
        planish.Pipeline.parse("transfer-weights{source=a,by=luck}")


def test_from_an_optimized_trace_into_the_file_of_the_older_exporter():
    torch = pytest.importorskip("torch")
    from examples import models
    from tests.networks import SIZE, WIDTH, Network

    network = Network("mobilenet_v2")
    x, traced = (network.inputs(2),), network.traced()
    one = models.build("mobilenet_v2", width=WIDTH, size=SIZE, seed=1, short=True)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(one, x, data, dynamo=False, opset_version=13)
    target = planish.load(onnx.load_from_string(data.getvalue()))
    optimized = planish.Pipeline.parse("exact").run(traced, verify="off").graph
    found, report = transfer_weights(target, optimized, by="place")
    assert not report.of("left")
    assert not report.of("unused")
    assert relative_error(outputs(traced, x[0].numpy()), outputs(found, x[0].numpy())) <= 1e-4


def test_the_table_has_a_line_a_weight():
    report = TransferReport(
        (
            TransferRow(
                name="conv.weight",
                status="taken",
                size="8x3",
                values=24,
                source="net.conv.weight",
                note="from float16",
            ),
            TransferRow(
                name="fc.weight",
                status="sliced",
                size="5x8",
                values=40,
                source="fc.weight",
                note="the leading 5x8 of 9x8",
            ),
            TransferRow(
                name="fc.bias",
                status="left",
                size="5",
                values=5,
                source="",
                note="the source has no weight of this name",
            ),
            TransferRow(name="old.weight", status="unused", size="2", values=2),
        )
    )
    assert str(report).splitlines() == [
        "1 of 3 weights taken, 1 sliced, 1 left, 1 of the source not used (92.8% of the values)",
        "taken   conv.weight  8x3  from net.conv.weight, from float16",
        "sliced  fc.weight    5x8  the leading 5x8 of 9x8",
        "left    fc.bias      5    the source has no weight of this name",
        "unused  old.weight   2",
    ]
    many = tuple(
        TransferRow(
            name=f"w{i}", status="left", size="1", values=1, source="", note=f"reason {i // 5}"
        )
        for i in range(50)
    )
    assert TransferReport(many).remarks()[1:] == [
        *(
            f"left: {', '.join(f'w{5 * n + i} [1]' for i in range(4))} and 1 more (reason {n})"
            for n in range(6)
        ),
        "left: others, for 4 more reasons",
    ]
