"""Which nodes TVM does not compile, found by compiling each on its own.

TVM's errors name no node. Only where a whole program failed is it worth asking.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError
from ....ir.core.variables import subgraphs_of
from ....ir.graph.view import View
from ...contract.prepare import typed_view
from ..kernels.settings import Settings
from ..program.lowering import lower_graph
from .toolchain import Toolchain, UncompiledError


def uncompiled(graph: gs.Graph, toolchain: Toolchain, settings: Settings) -> frozenset[str]:
    """Return the first result of every node of a prepared `graph` that fails on its own."""
    view = typed_view(graph)
    verdicts: dict[str, bool] = {}
    found = set()
    for node in graph.nodes:
        alone = _alone(node, view)
        if alone is None:
            continue
        key = _key(node, alone.inputs)
        if key not in verdicts:
            verdicts[key] = _fails(alone, toolchain, settings)
        if verdicts[key]:
            found.add(node.outputs[0].name)
    return frozenset(found)


def _alone(node: gs.Node, view: View) -> gs.Graph | None:
    """Return a graph of `node` alone, None where an input has no known type or it holds graphs."""
    if subgraphs_of(node):
        return None
    given: dict[int, gs.Tensor] = {}
    for tensor in node.inputs:
        kind = view.type(tensor)
        if tensor.is_empty() or view.is_constant(tensor):
            given[id(tensor)] = tensor.copy()
        elif kind is None or kind.shape is None:
            return None
        else:
            given[id(tensor)] = gs.Variable(tensor.name, kind.dtype, list(kind.shape))
    outputs = [gs.Variable(tensor.name) for tensor in node.outputs]
    copy = gs.Node(
        node.op, node.name, dict(node.attrs), [given[id(t)] for t in node.inputs], outputs,
        domain=node.domain,
    )  # fmt: skip
    variables = [t for t in given.values() if isinstance(t, gs.Variable) and not t.is_empty()]
    return gs.Graph(
        [copy],
        variables,
        [tensor for tensor in outputs if not tensor.is_empty()],
        opset=view.opset,
        import_domains=view.scope.import_domains,
    )


def _key(node: gs.Node, inputs: Iterable[gs.Tensor]) -> str:
    kinds = [(str(np.dtype(tensor.dtype)), tuple(tensor.shape)) for tensor in inputs]
    constants = [repr(t.values) for t in node.inputs if isinstance(t, gs.Constant)]
    return repr((node.op, sorted(node.attrs.items()), kinds, constants, len(node.outputs)))


def _fails(graph: gs.Graph, toolchain: Toolchain, settings: Settings) -> bool:
    try:
        lowered = lower_graph(toolchain.emitter(graph, settings))
        toolchain.build(lowered.module, sized=lowered.sized)
    except UncompiledError:
        return True
    except BackendError:
        return False
    return False
