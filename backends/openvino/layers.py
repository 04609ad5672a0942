"""Times of single layers, from OpenVINO's own profile.

Which nodes of ONNX a layer computes is in the model that OpenVINO runs; some that it rewrote are
nameless there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from ...passes.analysis.roofline import measure_machine
from ..contract.layer_times import LayerTime, LayerTimes
from ..contract.multiply_adds import multiply_adds_by_name
from .compiled import infer

# Of a layer with a bias, OpenVINO calls the product so.
_PRODUCT = "/WithoutBiases"
_DTYPES = {"i8": "int8", "u8": "int8", "bf16": "bfloat16", "f16": "float16"}


def time_layers(
    request: Any,
    graph: gs.Graph,
    feeds: Mapping[str, np.ndarray[Any, Any]],
    rounds: int,
    whole: float,
) -> LayerTimes:
    """Return the first fifth of the times of each layer over `rounds` runs of `request`.

    `request` is of a network compiled with PERF_COUNT; `whole`: seconds of a run without it.
    """
    arrays = [feeds[tensor.name] for tensor in graph.inputs if tensor.name in feeds]
    infer(request, arrays)
    runs = []
    for _ in range(rounds):
        infer(request, arrays)
        runs.append(request.profiling_info)
    counted = multiply_adds_by_name(graph, feeds)
    running = request.get_compiled_model().get_runtime_model()
    keys = {name: node_key(node) for node in graph.nodes for name in _names(node)}
    nodes = {op.get_friendly_name(): _nodes(op, keys) for op in running.get_ops()}
    layers = [
        _layer(
            kernel,
            nodes.get(kernel.node_name, ()),
            [run[i].real_time.total_seconds() for run in runs],
            counted,
        )
        for i, kernel in enumerate(runs[-1])
        if "EXECUTED" in str(kernel.status)
    ]
    threads = request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
    peak = measure_machine(threads or None, bandwidth=1.0).peak
    rest = max(0.0, whole - sum(layer.seconds for layer in layers))
    return LayerTimes(tuple(layers), {"float32": peak}, rest, whole)


def _names(node: gs.Node) -> Iterator[str]:
    yield from filter(None, (node.name, *(tensor.name for tensor in node.outputs)))


def _nodes(op: Any, keys: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of the graph's nodes that `op` computes, in order and once."""
    told = str(op.get_rt_info()["originalLayersNames"].astype(str)).split(",")
    names = (name.removesuffix(_PRODUCT) for name in told)
    return tuple(dict.fromkeys(keys[name] for name in names if name in keys))


def _layer(
    kernel: Any, nodes: tuple[str, ...], seconds: list[float], counted: Mapping[str, int]
) -> LayerTime:
    return LayerTime(
        kernel=kernel.node_name,
        nodes=nodes,
        seconds=float(np.percentile(seconds, 20)),
        multiply_adds=sum(counted[name] for name in nodes),
        dtype=_DTYPES.get(kernel.exec_type.lower().rpartition("_")[2], "float32"),
        operators=(kernel.node_type,),
    )
