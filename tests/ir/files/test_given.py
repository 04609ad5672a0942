"""Where a graph is asked for, a path will do; of anything else it is said what to call."""

import numpy as np
import pytest
import torch

import planish
from planish.ir.core.errors import GraphError, LoadError, PipelineError

from tests.helpers import conv_batchnorm

TAKE = {
    "lower": planish.lower,
    "compare": lambda given: planish.compare(given, given),
    "run": lambda given: planish.Pipeline.parse("exact").run(given),
    "optimize": planish.optimize,
    "bisect": lambda given: planish.bisect(planish.Pipeline.parse("exact"), given),
    "cost": planish.cost,
    "infer_types": planish.infer_types,
    "channel_groups": planish.channel_groups,
    "random_feeds": planish.random_feeds,
    "to_fx": planish.to_fx,
    "to_model": planish.to_model,
    "transfer_weights": lambda given: planish.transfer_weights(given, given),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "model.onnx"
    path.write_bytes(conv_batchnorm(4).SerializeToString())
    return path


@pytest.mark.parametrize("name", TAKE)
def test_a_path_will_do(path, name):
    for given in (path, str(path)):
        TAKE[name](given)
    with pytest.raises(LoadError, match=r"none\.onnx"):
        TAKE[name](path.parent / "none.onnx")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: torch.nn.Conv2d(3, 4, 3), r"PyTorch module \(Conv2d\).*planish\.trace\("),
        (lambda path: planish.to_fx(path), r"planish\.from_fx\("),
        (lambda path: np.zeros(3), "an ndarray is given where a graph is needed"),
        (lambda path: None, "None is given"),
    ],
)
@pytest.mark.parametrize("name", TAKE)
def test_else_it_is_said_what_to_call(path, name, make, says):
    with pytest.raises(GraphError, match=says):
        TAKE[name](make(path))


def test_a_result_will_do(path):
    result = planish.optimize(path)
    assert planish.cost(result).nodes == planish.cost(result.graph).nodes
    assert planish.compare(path, result).max_rel < 1e-5


def test_a_pipeline_as_text_is_told_what_to_call(path):
    with pytest.raises(PipelineError, match=r"write planish\.Pipeline\.parse\('exact'\)"):
        planish.bisect("exact", path)
