"""Passes that take `only` named nodes: what reads the weights of others stays bit for bit."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from planish.ir.core.errors import RefusedError
from planish.ir.core.variables import dense_values, node_key

from tests.helpers import graph_of, run_pass

RNG = np.random.default_rng(0)
WEIGHTS = {
    "u": RNG.standard_normal((16, 8, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((16, 16, 3, 3)).astype(np.float32),
    "w": RNG.standard_normal((16, 16, 3, 3)).astype(np.float32),
}
NETWORK = """g (float[1, 8, 6, 6] x) => (float[1, 16, 6, 6] z) {
    a = Conv <pads=[1, 1, 1, 1]> (x, u) b = Relu(a)
    c = Conv <pads=[1, 1, 1, 1]> (b, v) d = Relu(c)
    z = Conv <pads=[1, 1, 1, 1]> (d, w)
}"""


def changed(pipeline):
    """Return which convolutions, by what they give, do not have their weights any more."""
    graph = run_pass(graph_of(NETWORK, WEIGHTS), pipeline, verify="off").graph
    same = {
        node_key(node)
        for node in graph.nodes
        if node.op == "Conv"
        and isinstance(node.inputs[1], gs.Constant)
        and any(np.array_equal(dense_values(node.inputs[1]), w) for w in WEIGHTS.values())
    }
    return {"a", "c", "z"} - same


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("prune{amount=0.5,only=[c]}", {"c"}),
        ("prune{granularity=kernel,amount=0.5,only=[a,z],exclude=[z]}", {"a"}),
        # A channel goes from what reads it as well.
        ("prune{granularity=channel,amount=0.5,scope=layer,only=[a]}", {"a", "c"}),
        ("substitute-depthwise{terms=1,max-error=none,measure=false,only=[c]}", {"c"}),
        ("decompose-spatial{rank=2,measure=false,only=[z]}", {"z"}),
        ("quantize-weights{only=[a,c]}", {"a", "c"}),
    ],
)
def test_only_those_named_change(pipeline, expected):
    assert changed(pipeline) == expected


@pytest.mark.parametrize("name", ["prune", "decompose-svd", "quantize-weights"])
def test_a_name_that_the_graph_lacks_is_refused(name):
    with pytest.raises(RefusedError, match="only names the node 'q'"):
        run_pass(graph_of(NETWORK, WEIGHTS), f"{name}{{only=[q]}}", verify="off")


PASSES = ("prune", "prune{granularity=channel}", "decompose-svd{max-error=0.9}", "quantize-weights")


@pytest.mark.parametrize("name", PASSES)
def test_what_names_no_weights_is_told(name):
    steps = name.replace("}", ",only=[b,c]}") if "{" in name else f"{name}{{only=[b,c]}}"
    result = run_pass(graph_of(NETWORK, WEIGHTS), steps, verify="off")
    (record,) = result.records
    (told,) = (each.reason for each in record.declined if "only names it" in each.reason)
    assert told == "only names it, but Relu has no weights that the pass takes"


@pytest.mark.parametrize("name", PASSES[::2])
def test_a_selection_of_nothing_is_refused(name):
    name = name.partition("{")[0]
    with pytest.raises(RefusedError, match="exclude names all that only names"):
        run_pass(graph_of(NETWORK, WEIGHTS), f"{name}{{only=[c],exclude=[a,c]}}", verify="off")
