"""Small tools shared by the tests: graphs from text, and runs on independent oracles."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort

import planish
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.shapes.infer import infer_types
from planish.passes.engine.records import Result

Array = np.ndarray[Any, Any]


def model_of(text: str, weights: Mapping[str, Array] | None = None) -> onnx.ModelProto:
    """Return the model of `text` (ONNX text syntax) with `weights` added as initializers.

    Without a `<...>` header it gets opset 20 and IR version 10.
    """
    if not text.lstrip().startswith("<"):
        text = '<ir_version: 10, opset_import: ["" : 20]>\n' + text
    model = onnx.parser.parse_model(text)
    for name, values in (weights or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return model


def model_using(
    weights: Mapping[str, Array],
    body: str,
    inputs: str,
    *,
    opset: int = 18,
    outputs: str = "",
) -> onnx.ModelProto:
    """Return the model of `body` from `inputs` to y and `outputs`, with the `weights` it names."""
    used = {key: values for key, values in weights.items() if key in re.findall(r"\w+", body)}
    return model_of(
        f'<ir_version: 9, opset_import: ["" : {opset}]>\n'
        f"g ({inputs}) => ({outputs}float[] y) {{ {body} }}",
        used,
    )


def graph_of(text: str, weights: Mapping[str, Array] | None = None) -> gs.Graph:
    """Return the graph of `model_of(text, weights)`."""
    return planish.load(model_of(text, weights))


def view_of(graph: gs.Graph) -> View:
    """Return a view of `graph` as it is now, its types inferred."""
    return View(graph, Uses(graph), infer_types(graph).of)


def sum_of_branches(count: int) -> gs.Graph:
    """Return the sum of `count` branches |x - 0.25| after two identities; Abs are n1, n2, ..."""
    nodes = " ".join(f"[n{i}] a{i} = Abs(s{i}) " for i in range(1, count + 1))
    shifts = " ".join(f"s{i} = Sub(i2, c)" for i in range(1, count + 1))
    total = ", ".join(f"a{i}" for i in range(1, count + 1))
    return graph_of(
        f"""g (float[64] x) => (float[64] y) {{
            i1 = Identity(x) i2 = Identity(i1) {shifts} {nodes} y = Sum({total}) }}""",
        {"c": np.float32(0.25)},
    )


def ops(graph: gs.Graph) -> list[str]:
    """Return the operators of the main graph in order."""
    return [node.op for node in graph.nodes]


def run_pass(graph: gs.Graph, pipeline: str, **kwargs: Any) -> Result:
    """Run `pipeline`, verified after each pass, and check that a second run edits nothing."""
    kwargs.setdefault("verify", "each")
    passes = planish.Pipeline.parse(pipeline)
    result = passes.run(graph, **kwargs)
    target = kwargs.get("target", "cpu")
    again = passes.run(result.graph, kwargs.get("feeds"), verify="off", target=target)
    assert again.edits == 0, [r for r in again.records if r.edits]
    return result


def assert_left_alone(model: onnx.ModelProto, pipeline: str, reason: str | None) -> None:
    """Check that `pipeline` makes no edit, and gives `reason` alone, or none where it is empty."""
    graph = planish.load(model)
    result = run_pass(graph, pipeline)
    assert result.edits == 0
    assert ops(result.graph) == ops(graph)
    assert reasons(result) == ({reason} if reason else set())


def reasons(result: Result) -> set[str]:
    """Return the reasons for which passes left sites alone."""
    return {decline.reason for record in result.records for decline in record.declined}


def run_ort(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model on ONNX Runtime with its optimizations off, without planish in between."""
    session = _session(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


@functools.lru_cache(maxsize=4)  # tests run a model, and what became of it, on one feed by another
def _session(model: bytes) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # threads that wait for work spin, longer than tests compute
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def relative_error(expected: Array, found: Array) -> float:
    """Return the largest difference over the range of `expected`; shapes and types must agree."""
    assert expected.shape == found.shape
    assert expected.dtype == found.dtype
    if not expected.size:
        return 0.0
    a, b = expected.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    difference = np.abs(np.where(same, 0, a) - np.where(same, 0, b))
    scale = np.abs(a[np.isfinite(a)]).max(initial=0)
    return float(difference.max() / scale) if scale else float(difference.max())


def assert_same_function(
    before: onnx.ModelProto,
    after: gs.Graph,
    feeds: Mapping[str, Array],
    tolerance: float = 1e-5,
) -> None:
    """Check `after`, fused operators inlined, against `before` on ONNX Runtime."""
    expected = run_ort(before, feeds)
    found = run_ort(planish.to_model(after, portable=True), feeds)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert relative_error(array, found[name]) <= tolerance, name


def conv_batchnorm(
    channels: int = 8, *, epsilon: float = 1e-3, bias: bool = False, seed: int = 0
) -> onnx.ModelProto:
    """Return x[N, 3, 9, 9] -> Conv 3x3 -> BatchNormalization -> y with non-trivial statistics."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return generator.standard_normal(shape).astype(np.float32)

    weights = {
        "w": normal(channels, 3, 3, 3),
        "scale": normal(channels),
        "shift": normal(channels),
        "mean": normal(channels),
        "var": generator.uniform(0.05, 2, channels).astype(np.float32),
    }
    if bias:
        weights["b"] = normal(channels)
    return model_of(
        f"""g (float[N, 3, 9, 9] x) => (float[N, {channels}, 9, 9] y) {{
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w{", b" if bias else ""})
            y = BatchNormalization <epsilon = {epsilon}> (c, scale, shift, mean, var)
        }}""",
        weights,
    )
