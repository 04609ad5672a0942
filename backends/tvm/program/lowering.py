"""A graph of ONNX operators to a Relax program, for any device.

Why the program is written here rather than imported whole: layout, fusion and loop nests decide the
speed, and all three belong to the network, not to single operators. An emitter writes what has a
kernel of ours in the layout of its device; TVM's importer serves the rest one operator at a time.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ml_dtypes
import onnx
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.errors import BackendError
from ....ir.core.variables import dense_values, label
from ....ir.proto.to_proto import to_proto
from ..spec.calls import KernelCall, SizedKernels
from ..spec.layout import Array
from .emit_onnx import emit_onnx
from .faults import OwnFaultError, is_own
from .program import Program
from .single import SingleNode
from .value import is_held

P = TypeVar("P", bound=Program)


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A Relax module whose `main` takes the graph's inputs, then the constants.

    `kernels`: the operators that have one, and its name. `calls`: who is called for which nodes.
    `singles`: the nodes that no description of a kernel stands for. `sized`: what kernels of any
    number of images are for one image.
    """

    module: Any
    constants: list[Array]
    kernels: dict[Any, str]
    calls: list[KernelCall]
    singles: list[SingleNode]
    sized: SizedKernels = field(default_factory=dict)


class GraphEmitter(ABC, Generic[P]):
    """Writes the nodes of one `graph` into `program`, in the layouts of one kind of device."""

    def __init__(self, graph: gs.Graph, program: P) -> None:
        self.graph = graph
        self.program = program

    @abstractmethod
    def emit_nodes(self) -> None:
        """Emit all nodes, in an order in which they can run."""

    def protos(self) -> dict[int, onnx.NodeProto]:
        """Return the nodes as TVM's converters read them, by id; large constants are left out."""
        model, _ = to_proto(
            self.graph, leave_out=lambda c: (v := dense_values(c)) is None or v.size > 64
        )
        pairs = zip(self.graph.nodes, model.graph.node, strict=True)
        return {id(node): proto for node, proto in pairs}


class ImportingEmitter(GraphEmitter[Program]):
    """Writes every node as TVM's importer has it, or ONNX Runtime, in ONNX's own layout."""

    def emit_nodes(self) -> None:
        """Emit all nodes."""
        protos = self.protos()
        for node in self.graph.nodes:
            with named(node):
                emit_onnx(self.program, node, protos[id(node)])


@contextlib.contextmanager
def named(*nodes: gs.Node) -> Iterator[None]:
    """Make a BackendError that names the first of `nodes` of whatever is raised in emitting them.

    It is an OwnFaultError where planish's own code raised it.
    """
    try:
        yield
    except (BackendError, MemoryError):
        raise
    except Exception as error:
        node = label(nodes[0])
        if is_own(error):
            results = frozenset(t.name for n in nodes for t in n.outputs if not t.is_empty())
            raise OwnFaultError(error, node, results) from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BackendError(f"backend 'tvm' cannot run {node}: {reason}") from error


def lower_graph(emitter: GraphEmitter[Any]) -> Lowered:
    """Return the Relax program that `emitter` writes of its graph, which is a prepared one."""
    from tvm import relax

    graph, program = emitter.graph, emitter.program
    inputs = _input_variables(graph, program)
    with program.builder.function("main"), tidy(program.builder):
        with program.builder.dataflow():
            found = emit_between(emitter, inputs)
            outputs = [program.builder.emit_output(expr) for expr in found]
        parameters = [*inputs, *program.parameters]
        program.builder.emit_func_output(relax.Tuple(outputs), parameters)
    module = program.builder.get()
    # Constants fit by construction: only inputs are checked at every call.
    module["main"] = module["main"].with_attr("num_input", len(inputs))
    return Lowered(
        module=module,
        constants=program.constants,
        kernels=program.kernels,
        calls=program.calls,
        singles=program.singles,
        sized=program.sized,
    )


def emit_between(emitter: GraphEmitter[Any], inputs: Sequence[Any]) -> list[Any]:
    """Emit the graph of `emitter` on expressions of its inputs, and return those of its outputs."""
    for tensor, expr in zip(emitter.graph.inputs, inputs, strict=True):
        emitter.program.define_plain(tensor, expr)
    emitter.emit_nodes()
    return [emitter.program.tensor(tensor) for tensor in emitter.graph.outputs]


@contextlib.contextmanager
def tidy(builder: Any) -> Iterator[None]:
    """End the block of a function that an error leaves open: TVM prints a warning of it else."""
    try:
        yield
    except BaseException:
        builder._end_block()
        raise


def _input_variables(graph: gs.Graph, program: Program) -> list[Any]:
    """Return a Relax variable for each input, equal names of sizes being equal variables.

    Raises BackendError for an input of unknown rank, or of a type that has no memory to lend.
    """
    from tvm import relax

    found = []
    for index, tensor in enumerate(graph.inputs):
        dtype = _input_type(tensor)
        if tensor.shape is None:
            raise BackendError(
                f"backend 'tvm' needs to know the rank of input '{tensor.name}'; give its shape, "
                f"such as --input-shape {tensor.name}=1,3,224,224"
            )
        kind = relax.TensorType(program.sizes(tensor.shape), dtype)
        found.append(relax.Var(f"x{index}", kind))
    return found


def _input_type(tensor: gs.Tensor) -> str:
    """Return the element type of an input; raises BackendError where feeds cannot have it."""
    what = f"input '{tensor.name}'"
    if tensor.dtype is None:
        raise BackendError(
            f"backend 'tvm' takes tensors alone, with a type; {what} is none, or declares none"
        )
    if dtypes.elem_type(tensor.dtype) == dtypes.elem_type(ml_dtypes.bfloat16):
        raise BackendError(
            f"{what} is bfloat16, which backend 'tvm' computes in but takes from no feed; make "
            "inputs float32, with a Cast behind each, as convert-precision{to=bfloat16,"
            "compute=half} leaves them"
        )
    if not is_held(tensor.dtype):
        raise BackendError(
            f"{what} is {dtypes.type_name(tensor.dtype)}; backend 'tvm' takes numbers and booleans"
        )
    return str(dtypes.numpy_dtype(tensor.dtype))
