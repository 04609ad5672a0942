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


def make_variable(
    name: str, dtype: Any = None, shape: list[Any] | None = None, kind: str = "tensor_type"
) -> gs.Variable:
    """Return `gs.Variable(name, dtype, shape, kind)`."""
    made = gs.Variable.__new__(gs.Variable)
    made.__dict__.update(
        name=name,
        inputs=linked_list(made, "outputs"),
        outputs=linked_list(made, "inputs"),
        dtype=dtype,
        shape=shape,
        type=kind,
    )
    return made


def make_constant(name: str, values: Any) -> gs.Constant:
    """Return `gs.Constant(name, values)`."""
    made = gs.Constant.__new__(gs.Constant)
    made.__dict__.update(
        name=name,
        inputs=linked_list(made, "outputs"),
        outputs=linked_list(made, "inputs"),
        _values=values,
        data_location=None,
        _export_dtype=None,
    )
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
    list.extend(into, inputs)
    list.extend(out, outputs)
    made.__dict__.update(op=op, name=name, attrs=attrs, inputs=into, outputs=out, domain=domain)
    if link:
        for tensor in inputs:
            list.append(tensor.outputs, made)
        for tensor in outputs:
            list.append(tensor.inputs, made)
    return made


def linked_list(parent: Any, field: str) -> SynchronizedList:
    """Return an empty list of tensors or nodes that are linked back by their list `field`."""
    made = SynchronizedList.__new__(SynchronizedList)
    made.parent_obj = parent
    made.field_name = field
    return made
