"""Passes and analyses on models with a malformed parameter: left alone, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import onnx
import pytest

import planish
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.analysis.cost import cost

from tests.strategies.broken import break_a_parameter, models

MODELS = models()


def _exact(graph: Any) -> None:
    result = planish.Pipeline.parse("exact").run(graph, verify="off", strict=False)
    assert result.failures == ()


def _strict(graph: Any) -> None:
    planish.Pipeline.parse("exact").run(graph, verify="off", strict=True)


READERS: dict[str, Callable[[Any], object]] = {
    "exact": _exact,
    "strict": _strict,
    "cost": cost,
    "channel_groups": channel_groups,
    "to_fx": planish.to_fx,
}


def _check(name: str, seed: int) -> None:
    model = onnx.ModelProto.FromString(MODELS[name].SerializeToString())
    done = break_a_parameter(model, Random(f"{name} {seed}"))
    try:
        graph = planish.load(model)
    except planish.PlanishError:
        return
    for what, reader in READERS.items():
        try:
            reader(graph)
        except planish.PlanishError:
            continue
        except Exception as error:
            raise AssertionError(f"{what} of {name}, {done}: {error!r}") from error


@pytest.mark.parametrize("name", MODELS)
def test_the_models_are_right_before_they_are_broken(name):
    onnx.checker.check_model(MODELS[name], full_check=True)
    planish.lower(planish.load(MODELS[name]))


@pytest.mark.parametrize("name", MODELS)
def test_one_parameter_broken(name):
    _check(name, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_one_parameter_broken_at_length(name):
    for seed in range(1, 60):
        _check(name, seed)


def test_what_raises_at_a_contradiction_is_why_a_site_is_declined(monkeypatch):
    monkeypatch.delenv("PLANISH_STRICT", raising=False)
    model = onnx.ModelProto.FromString(MODELS["b = Pad(a, i, s)"].SerializeToString())
    (value,) = (tensor for tensor in model.graph.initializer if tensor.name == "s")
    value.CopyFrom(onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [2], [0.0, 0.0]))
    for strict in (False, True):
        result = planish.Pipeline.parse("fold-pad").run(
            planish.load(model), verify="off", strict=strict
        )
        assert not result.failures
        (declined,) = result.records[0].declined
        assert declined.reason.startswith("the graph contradicts itself: ")
        assert "Pad" in declined.reason
