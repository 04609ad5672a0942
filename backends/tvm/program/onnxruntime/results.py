"""What ONNX Runtime will give for a node: element types and sizes, where only it can tell them."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from .....ir.core.variables import is_standard, subgraphs_of
from .....ir.graph.types import Dim
from .....ir.ops.axes.reductions import keeps_dims
from .....ir.ops.shapes.runtime import is_doubted
from .....ir.ops.traits.groups import REDUCTIONS
from ...runtime.onnx_node import session_of
from ..program import Program
from ..value import shape_of
from .node_model import results_of
from .refusals import refused

_TYPES = {
    f"tensor({kind})": name
    for kind, name in {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "bool": "bool",
        **{
            f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
        },
    }.items()
}


def kinds_of(
    program: Program, node: gs.Node, model: bytes, why: str
) -> list[tuple[str, tuple[Dim, ...]] | None]:
    """Return element type and sizes of every result: as inferred, else as ONNX Runtime says.

    None stands for what a program does not hold.
    """
    try:
        outputs = session_of(model).get_outputs()
    except ImportError as error:
        raise refused(node, f"{why}, and ONNX Runtime, which could, is not installed") from error
    except Exception as error:  # ONNX Runtime's own have no common base
        reason = " ".join(str(error).split())[:200]
        raise refused(node, f"{why}; nor does ONNX Runtime run it: {reason}") from error
    found: list[tuple[str, tuple[Dim, ...]] | None] = []
    for place, (tensor, output) in enumerate(zip(results_of(node), outputs, strict=True)):
        dtype = _TYPES.get(output.type)
        if dtype is None:
            found.append(None)
            continue
        # ONNX Runtime says [] both of a scalar and of what it knows no rank of.
        declared = (
            program.view.shape(tensor)
            or _told_shape(program, node, output.shape)
            or _told_rank(program, node, place)
        )
        if declared is None and program.view.shape(tensor) is None:
            raise refused(
                node, f"the rank or type of '{tensor.name}' is not known{_advice(node)} ({why})"
            )
        found.append((dtype, tuple(declared or ())))
    return found


def _told_shape(program: Program, node: gs.Node, shape: list[Any]) -> list[Any]:
    """Return what a session says of a result: ONNX's inference, of which only the rank may hold."""
    doubted = is_standard(node) and is_doubted(node, program.view.opset)
    return [None] * len(shape) if doubted else shape


def _told_rank(program: Program, node: gs.Node, result: int) -> list[None] | None:
    """Return unknown sizes of a result, as many as inputs tell; None where they do not.

    Split and Pad keep the rank, a reduction all but its axes; of others an input holds the sizes.
    """
    if subgraphs_of(node):
        return _declared_in(node, result)
    if node.op in REDUCTIONS and len(node.inputs) == 2:
        return _left_by(program, node)
    if node.op in ("Pad", "Split"):
        shape = shape_of(program.plain(node.inputs[0]))
        return None if shape is None else [None] * len(shape)
    place = {"ConstantOfShape": 0, "Reshape": 1}.get(node.op)
    if place is None:
        return None
    (length,) = shape_of(program.plain(node.inputs[place])) or (None,)
    return [None] * length if isinstance(length, int) else None


def _declared_in(node: gs.Node, result: int) -> list[None] | None:
    """Return unknown sizes of a result of an If or Loop, as many as its bodies declare alike.

    What a Loop carries comes after its condition; what it gathers has one axis more. Another rank
    is an error when the network runs.
    """
    bodies = subgraphs_of(node)
    first, more = 0, 0
    if node.op == "Loop":
        first, more = 1, int(result >= len(node.inputs) - 2)
    elif node.op != "If":
        return None
    ranks = {
        None if shape is None else len(shape)
        for shape in (body.outputs[first + result].shape for body in bodies)
    }
    (rank,) = ranks if len(ranks) == 1 else (None,)
    return None if rank is None else [None] * (rank + more)


def _left_by(program: Program, node: gs.Node) -> list[None] | None:
    """Return unknown sizes for what a reduction leaves whose axes are known at run time alone."""
    shape = shape_of(program.plain(node.inputs[0]))
    (count,) = shape_of(program.plain(node.inputs[1])) or (None,)
    if shape is None:
        return None
    if keeps_dims(node):
        return [None] * len(shape)
    return [None] * (len(shape) - count) if isinstance(count, int) and count else None


def _advice(node: gs.Node) -> str:
    if not subgraphs_of(node):
        return ""
    return (
        "; give If a constant condition or unroll Loop, which the preset 'exact' does where it "
        "can, or declare what its bodies give"
    )
