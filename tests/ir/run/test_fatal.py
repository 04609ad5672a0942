"""What ends the process in ONNX Runtime is refused before."""

import pytest

import planish
from planish import ExecutionError

from tests.helpers import graph_of

FATAL = {
    "a batch from behind": (
        "float[2, 3, 4] x, int64[2, 1] i",
        "y = GatherND <batch_dims = -2> (x, i)",
        "batch_dims",
    ),
    "a scalar as window": (
        "float[1, 8, 1] x, int64 step, float w",
        "y = STFT(x, step, w)",
        "window is a scalar",
    ),
    "one of any number left out": ("float[2] x", "y = Max(, x)", "is left out; name it"),
}


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("inside", [False, True], ids=["", "in a branch"])
def test_it_is_refused_with_a_sentence(name, inside):
    inputs, node, reason = FATAL[name]
    if inside:
        other = node.replace("y =", "z =")
        node = f"""y = If(c) <then_branch = a () => (float[] y) {{ {node} }},
            else_branch = b () => (float[] z) {{ {other} }}>"""
        inputs = f"bool c, {inputs}"
    graph = graph_of(f"g ({inputs}) => (float[] y) {{ {node} }}")
    with pytest.raises(ExecutionError, match=reason):
        planish.lower(graph, "onnxruntime")
    result = planish.Pipeline.parse("exact").run(graph)
    assert not result.verified
    assert reason in result.note
