"""Weights that stay in their files until somebody asks, and go when nobody holds them."""

import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.core.errors import LoadError
from planish.ir.core.file_values import FileValues
from planish.ir.core.variables import dense_values
from planish.ir.files import read
from planish.ir.files.load import load_lazily
from planish.ir.graph.edit import Edit
from planish.passes.pipeline.from_function import pass_from_function

from tests.helpers import run_ort

LAYERS, CHANNELS = 6, 48  # 83 kB a weight


@pytest.fixture(autouse=True)
def _every_size(monkeypatch):
    monkeypatch.setattr(read, "_LARGE", 1)


@pytest.fixture(params=["inside", "beside"])
def path(request, tmp_path):
    """Return the file of a chain of convolutions with normalizations."""
    generator = np.random.default_rng(0)
    nodes, constants, x = [], [], "x"
    for i in range(LAYERS):
        weight = generator.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / 20
        own = [f"{kind}{i}" for kind in ("scale", "bias", "mean", "var")]
        values = generator.uniform(0.5, 1.5, (4, CHANNELS)).astype(np.float32)
        constants += map(numpy_helper.from_array, (weight, *values), (f"w{i}", *own))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *own], [f"b{i}"]))
        x = f"b{i}"
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, CHANNELS, 5, 5]) for n in ("x", x)
    )
    graph = helper.make_graph(nodes, "chain", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    found = tmp_path / "model.onnx"
    beside = request.param == "beside"
    onnx.save(model, found, save_as_external_data=beside, location="weights", size_threshold=0)
    return found


def weights(graph):
    return [n.inputs[1] for n in graph.nodes if n.op == "Conv"]


def held(graph):
    """Return the weights of `graph` that anybody holds."""
    return [
        t for t in weights(graph) if t._values._held is not None and t._values._held() is not None
    ]


def test_values_are_those_of_load_and_one_array_as_long_as_it_is_held(path):
    lazily, usual = load_lazily(path), planish.load(path)
    assert all(isinstance(t._values, FileValues) for t in weights(lazily))
    for one, other in zip(weights(lazily), weights(usual), strict=True):
        values = dense_values(one)
        assert values is dense_values(one)
        np.testing.assert_array_equal(values, other.values)
        assert not values.flags.writeable
        assert held(lazily) == [one]
        del values
        assert held(lazily) == []


def test_a_run_holds_what_it_has_not_replaced(path, monkeypatch):
    graph, counts = load_lazily(path), []
    constant = Edit.constant

    def count(edit, values, name):
        counts.append(len(held(graph)))
        return constant(edit, values, name)

    monkeypatch.setattr(Edit, "constant", count)
    result = planish.Pipeline.parse("fold-batchnorm").run(graph)
    assert result.verified
    assert len(weights(result.graph)) == LAYERS
    # One layer's old weights beside the new ones, and those of layers that are yet to come.
    assert counts[0] == LAYERS
    assert counts[-1] <= 2
    assert counts == sorted(counts, reverse=True)
    assert held(graph) == []
    expected = planish.Pipeline.parse("fold-batchnorm").run(planish.load(path))
    assert _written(result.graph) == _written(expected.graph)


def test_what_was_replaced_is_there_again_when_it_is_asked_for(path):
    """The graph that was given stays as it was, for whoever goes back to it."""
    graph = load_lazily(path)
    planish.Pipeline.parse("exact").run(graph)
    assert _written(graph) == _written(planish.load(path))
    copy = pickle.loads(pickle.dumps(load_lazily(path)))
    assert _written(copy) == _written(planish.load(path))


def test_another_file_may_take_the_place(path):
    feeds = {"x": np.random.default_rng(1).standard_normal((1, CHANNELS, 5, 5)).astype(np.float32)}
    graph, before = load_lazily(path), _written(planish.load(path))
    result = planish.Pipeline.parse("exact").run(graph)
    planish.save(result.graph, path, portable=True)
    assert _written(graph) == before
    a, b = (run_ort(model, feeds) for model in (onnx.load_from_string(before), onnx.load(path)))
    (name,) = a
    np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-4)


def test_a_file_that_was_written_to_is_refused(path):
    graph = load_lazily(path)
    for file in path.parent.iterdir():
        with file.open("ab") as more:
            more.write(b"more")
    with pytest.raises(LoadError, match="was written to"):
        dense_values(weights(graph)[0])


def test_a_run_counts_only_if_no_file_was_written_to_meanwhile(path, tmp_path):
    beside = path.parent / "weights"
    file = beside if beside.exists() else path

    def write(graph):
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size - 4096)
            opened.write(bytes(16))

    steps = planish.Pipeline((pass_from_function(write, "write", exact=True)(),))
    before = sorted(tmp_path.iterdir())
    for read_by in (load_lazily, planish.load) if file == beside else (load_lazily,):
        graph = read_by(path)
        with pytest.raises(LoadError, match=f"'{file}' was written to"):
            steps.run(graph)
        for external in (False, True):
            with pytest.raises(LoadError, match="was written to"):
                planish.save(graph, tmp_path / "made.onnx", external=external)
    assert sorted(tmp_path.iterdir()) == before


def _written(graph):
    return planish.to_model(graph).SerializeToString(deterministic=True)
