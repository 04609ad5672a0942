"""LSTM, GRU and RNN in PyTorch against ONNX Runtime, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import planish

from tests.helpers import model_using, relative_error, run_ort

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUT, HIDDEN = 6, 3, 5, 4
OPTIONS = {
    "plain": ("", "x, w, r"),
    "bias": ("", "x, w, r, b"),
    "lengths": ("", "x, w, r, b, ends"),
    "states": ("", "x, w, r, b, ends, h"),
    "no bias, but states": ("", "x, w, r, , , h"),
    "clip": ("clip = 0.3, ", "x, w, r, b"),
}


def _weights(op: str, directions: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(op) + directions)
    rows = GATES[op] * HIDDEN
    shapes = {
        "w": (directions, rows, INPUT),
        "r": (directions, rows, HIDDEN),
        "b": (directions, 2 * rows),
        "h": (directions, BATCH, HIDDEN),
        "c": (directions, BATCH, HIDDEN),
        "p": (directions, 3 * HIDDEN),
    }
    made = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    return made | {"ends": np.array([6, 2, 4], np.int32)}


def _model(op: str, direction: str, attributes: str, inputs: str, opset: int = 17):
    directions = 2 if direction == "bidirectional" else 1
    more = ", c2" if op == "LSTM" else ""
    body = (
        f'y, last{more} = {op} <hidden_size = {HIDDEN}, direction = "{direction}", {attributes}'
        f"name_ = 0> ({inputs})"
    ).replace(", name_ = 0", "")
    outputs = "float[] last, float[] c2, " if more else "float[] last, "
    weights = _weights(op, directions)
    return model_using(weights, body, f"float[T, N, {INPUT}] x", opset=opset, outputs=outputs)


def _feed() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {"x": rng.normal(size=(STEPS, BATCH, INPUT)).astype(np.float32)}


def _assert_same(model) -> torch.fx.GraphModule:
    feed = _feed()
    module = planish.to_fx(planish.load(model))
    with torch.no_grad():
        found = module(torch.from_numpy(feed["x"]))
    for want, got in zip(run_ort(model, feed).values(), found, strict=True):
        assert relative_error(want, got.numpy()) <= 1e-5
    return module


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("op", GATES)
def test_it_computes_what_onnx_runtime_does(op, option, direction):
    _assert_same(_model(op, direction, *OPTIONS[option]))


def test_the_reset_gate_of_a_gru_acts_before_or_after_the_product():
    for flag in (0, 1):
        _assert_same(
            _model("GRU", "bidirectional", f"linear_before_reset = {flag}, ", "x, w, r, b")
        )


def test_an_lstm_begins_with_a_cell_and_looks_through_peepholes():
    _assert_same(_model("LSTM", "reverse", "", "x, w, r, b, ends, h, c"))
    _assert_same(_model("LSTM", "bidirectional", "", "x, w, r, b, , h, c, p"))
    _assert_same(_model("LSTM", "forward", "clip = 0.4, ", "x, w, r, b, ends, h, c, p"))


@pytest.mark.parametrize("opset", [7, 13, 14, 22])
def test_at_every_opset(opset):
    _assert_same(_model("LSTM", "bidirectional", "", "x, w, r, b, ends", opset))


def test_other_activations():
    names = 'activations = ["HardSigmoid", "Relu", "Softsign"], '
    _assert_same(_model("LSTM", "forward", names, "x, w, r, b"))
    both = 'activations = ["Sigmoid", "Relu", "HardSigmoid", "Tanh"], '
    _assert_same(_model("GRU", "bidirectional", both, "x, w, r, b"))


def test_batch_first():
    """Layout 1, which ONNX Runtime's CPU kernels refuse."""
    model = _model("LSTM", "bidirectional", "layout = 1, ", "x, w, r, b", opset=14)
    plain = _model("LSTM", "bidirectional", "", "x, w, r, b", opset=14)
    x = _feed()["x"]
    last, cell, y = run_ort(plain, {"x": x}).values()
    module = planish.to_fx(planish.load(model))
    with torch.no_grad():
        found = module(torch.from_numpy(x.transpose(1, 0, 2).copy()))
    wanted = [last.transpose(1, 0, 2), cell.transpose(1, 0, 2), y.transpose(2, 0, 1, 3)]
    for want, got in zip(wanted, found, strict=True):
        assert relative_error(want, got.numpy()) <= 1e-5


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("input_forget = 1, ", "coupled"),
        ('activations = ["Sigmoid", "Affine", "Tanh"], ', "affine is not known"),
        ("activation_alpha = [0.1], ", "parameters of their own"),
    ],
)
def test_what_is_not_known_is_refused(attributes, reason):
    model = _model("LSTM", "forward", attributes, "x, w, r, b")
    with pytest.raises(planish.PlanishError, match=reason):
        planish.to_fx(planish.load(model))


@pytest.mark.parametrize("op", GATES)
def test_it_trains_and_goes_back(op):
    """A step of descent changes all weights; the graph with them computes what the module does."""
    model = _model(op, "bidirectional", "", "x, w, r, b, ends")
    module = planish.to_fx(planish.load(model))
    x = torch.from_numpy(_feed()["x"])
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    assert {p.shape[1] for p in before.values()} >= {GATES[op] * HIDDEN}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    sum(part.square().mean() for part in module(x)).backward()
    optimizer.step()
    assert len(before) == 3
    assert all(not torch.equal(before[name], p) for name, p in module.named_parameters())
    graph = planish.from_fx(module)
    found = planish.lower(graph, backend="onnxruntime")({"x": x.numpy()})
    with torch.no_grad():
        for want, got in zip(module(x), found.values(), strict=True):
            assert relative_error(want.numpy(), got) <= 1e-5


def test_states_of_zeros_do_not_train():
    weights = _weights("GRU", 1) | {"h": np.zeros((1, BATCH, HIDDEN), np.float32)}
    body = f"y = GRU <hidden_size = {HIDDEN}> (x, w, r, b, , h)"
    model = model_using(weights, body, f"float[T, N, {INPUT}] x")
    module = planish.to_fx(planish.load(model))
    assert len(list(module.parameters())) == 3
