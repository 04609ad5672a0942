"""Fast construction of GraphSurgeon objects.

GraphSurgeon's constructors keep producer and reader lists in step one element at a time, through
`__setattr__` hooks; on graphs of ten thousand nodes that is most of the time of loading and
copying. These make the same objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.util.misc import SynchronizedList

_new_list, _append, _extend = SynchronizedList.__new__, list.append, list.extend


def make_variable(
    name: str, dtype: Any = None, shape: list[Any] | None = None, kind: str = "tensor_type"
) -> gs.Variable:
    """Return `gs.Variable(name, dtype, shape, kind)`."""
    made = gs.Variable.__new__(gs.Variable)
    # The dict itself, here and below: `__setattr__` is a Python function.
    held = made.__dict__
    held["name"] = name
    held["inputs"] = linked_list(made, "outputs")
    held["outputs"] = linked_list(made, "inputs")
    held["dtype"], held["shape"], held["type"] = dtype, shape, kind
    return made


def make_constant(name: str, values: Any) -> gs.Constant:
    """Return `gs.Constant(name, values)`."""
    made = gs.Constant.__new__(gs.Constant)
    held = made.__dict__
    held["name"] = name
    held["inputs"] = linked_list(made, "outputs")
    held["outputs"] = linked_list(made, "inputs")
    held["_values"], held["data_location"], held["_export_dtype"] = values, None, None
    return made


def make_node(
    op: str,
    name: str,
    attrs: dict[str, Any],
    inputs: Sequence[gs.Tensor],
    outputs: Sequence[gs.Tensor],
    domain: str | None,
    *,
    link: bool = True,
) -> gs.Node:
    """Return `gs.Node(op, name, attrs, inputs, outputs, domain)`.

    `link=False` leaves the tensors' own lists of producers and readers as they are.
    """
    made = gs.Node.__new__(gs.Node)
    into, out = linked_list(made, "outputs"), linked_list(made, "inputs")
    _extend(into, inputs)
    _extend(out, outputs)
    held = made.__dict__
    held["op"], held["name"], held["attrs"] = op, name, attrs
    held["inputs"], held["outputs"], held["domain"] = into, out, domain
    if link:
        for tensor in inputs:
            _append(tensor.outputs, made)
        for tensor in outputs:
            _append(tensor.inputs, made)
    return made


def put_input(node: gs.Node, position: int, tensor: gs.Tensor) -> None:
    """Have `node` read `tensor` at `position`.

    GraphSurgeon's own lists find a node by what it is like, and so take one of another subgraph
    that is written alike.
    """
    readers = node.inputs[position].outputs
    place = next((at for at, reader in enumerate(readers) if reader is node), None)
    if place is not None:
        list.__delitem__(readers, place)
    list.__setitem__(node.inputs, position, tensor)
    _append(tensor.outputs, node)


def linked_list(parent: Any, field: str) -> SynchronizedList:
    """Return an empty list of tensors or nodes that are linked back by their list `field`."""
    made = _new_list(SynchronizedList)
    made.parent_obj = parent
    made.field_name = field
    return made
