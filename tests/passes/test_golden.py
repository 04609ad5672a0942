"""Golden tests: each pass on its own small example, the resulting graph as text.

The examples lie in `passes/pipeline/examples`, where people read them too. What comes out is
compared with the text there, and, where the pass is exact and keeps the inputs, with ONNX Runtime's
results for what went in.
"""

import numpy as np
import onnx
import pytest

import planish
from planish.passes.pipeline.examples import read_example, show_model
from planish.passes.pipeline.registry import all_passes

from tests.helpers import relative_error, run_ort

BUILT_IN = [name for name, kind in all_passes().items() if kind.__module__.startswith("planish.")]
_NEEDS_TORCH = {"reconstruct-blocks", "recover"}
# Drawn anew, or learned from samples: run a second time, they do it again.
_NEVER_DONE = {"recover", "replace-head"}


def drawn(model, seed):
    """Draw values of all signs, and of the whole range of integers, for the inputs of `model`."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for each in model.graph.input:
        tensor = each.type.tensor_type
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        sizes = [size.dim_value or 3 for size in tensor.shape.dim]
        if kind.kind == "f":
            feeds[each.name] = generator.standard_normal(sizes).astype(kind) * 3
        else:
            limits = np.iinfo(kind)
            feeds[each.name] = generator.integers(limits.min, limits.max, sizes, kind)
    return feeds


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an example's files lie


def run(example, name):
    if name in _NEEDS_TORCH:
        pytest.importorskip("torch")
    for file, model in example.models().items():
        onnx.save(model, file)
    graph = planish.load(example.model())
    return planish.Pipeline.parse(example.pipeline).run(graph, example.batches(), verify="off")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_graph_that_comes_out(name):
    example = read_example(name)
    assert show_model(example.model()) == example.before  # written in the one form
    result = run(example, name)
    after = planish.to_model(result.graph)
    assert show_model(after) == example.after
    assert any(record.name == name and record.edits for record in result.records)
    onnx.checker.check_model(after, full_check=True)

    if all_passes()[name].exact and all_passes()[name].keeps_interface:
        feeds = drawn(example.model(), seed=0)
        expected = run_ort(example.model(), feeds)
        found = run_ort(planish.to_model(result.graph, portable=True), feeds)
        assert expected.keys() == found.keys()
        for output, array in expected.items():
            assert relative_error(array, found[output]) <= 1e-6, output

    if name not in _NEVER_DONE:
        again = planish.Pipeline.parse(example.pipeline)
        assert again.run(result.graph, example.batches(), verify="off").edits == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_examples_are_small_and_say_what_to_see(name):
    example = read_example(name)
    assert example.caption.endswith(".")
    assert len(example.model().graph.node) <= 10
    assert len(example.after.splitlines()) <= 40
    assert name in str(planish.Pipeline.parse(example.pipeline))
