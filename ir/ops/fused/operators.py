"""The fused operators of the domain `planish`: their names, attributes and bodies.

    Conv(X, W, B) [+ Z] [-> activation] [-> pooling]      and likewise ConvTranspose, Gemm

The name lists the parts: ConvRelu, ConvAdd, ConvTransposeAddSilu, ConvClipMaxPool, GemmGelu. Inputs
are those of the linear operator, then the residual `Z`, then the operands of the activation (the
bounds of Clip, the slope of PRelu); an absent one is an empty input. Attributes of the linear
operator keep their ONNX names; those of the activation are prefixed `activation_`, those of the
pooling `pool_`; all are explicit. The body is the unfused subgraph, without calls of other
functions, so any runtime with local functions computes the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN
from ..opsets import has_attribute
from ..traits.recognized import FUSED_POOLS, NEWEST, read_name
from ..traits.schemas import default
from .activations import Activation, activation_by_suffix


@dataclass(frozen=True)
class Linear:
    """A linear operator that takes others in: formal inputs and attribute types."""

    op: str
    inputs: tuple[str, str, str]
    attributes: tuple[tuple[str, type], ...]


@dataclass(frozen=True)
class Pool:
    """A pooling operator: its attributes and their types at the opset of the model."""

    op: str
    attributes: tuple[tuple[str, type], ...]


_CONV = tuple(
    (name, int if name == "group" else list[int])
    for name in ("dilations", "group", "kernel_shape", "pads", "strides")
)
CONV = Linear("Conv", ("X", "W", "B"), _CONV)
CONV_TRANSPOSE = Linear("ConvTranspose", ("X", "W", "B"), (*_CONV, ("output_padding", list[int])))
GEMM = Linear(
    "Gemm",
    ("A", "B", "C"),
    (("alpha", float), ("beta", float), ("transA", int), ("transB", int)),
)
GEMM_DEFAULTS = {name: default("Gemm", name, NEWEST) for name, _ in GEMM.attributes}
_POOL = (
    *((name, list[int]) for name in ("kernel_shape", "pads", "strides")),
    *(("ceil_mode", int), ("dilations", list[int]), ("count_include_pad", int)),
)
LINEARS = {linear.op: linear for linear in (CONV, CONV_TRANSPOSE, GEMM)}


@dataclass(frozen=True)
class Fused:
    """The parts of a fused operator, in the order in which they are computed."""

    linear: Linear
    residual: bool = False
    activation: Activation | None = None
    pool: Pool | None = None

    @property
    def name(self) -> str:
        """Operator type in the domain `planish`."""
        return (
            self.linear.op
            + ("Add" if self.residual else "")
            + (self.activation.suffix if self.activation else "")
            + (self.pool.op if self.pool else "")
        )


def pool_of(op: str, opset: int) -> Pool | None:
    """Return the pooling that operator `op` is at `opset`, with the attributes it has there."""
    if op not in FUSED_POOLS:
        return None
    there = [(name, kind) for name, kind in _POOL if has_attribute(op, name, opset)]
    return Pool(op, tuple(there))


@functools.lru_cache(maxsize=512)
def read_fused(name: str, opset: int) -> Fused | None:
    """Return the parts of the fused operator called `name`; None where no pass makes such a one."""
    parts = read_name(name)
    if parts is None:
        return None
    activation = activation_by_suffix(parts.activation, opset) if parts.activation else None
    if parts.activation and activation is None:
        return None
    return Fused(LINEARS[parts.layer], parts.residual, activation, pool_of(parts.pool, opset))


def fused_parts(node: gs.Node, opset: int) -> Fused | None:
    """Return the parts of a node that calls a fused operator with a layer, None for others."""
    return read_fused(str(node.op), opset) if node.domain == FUSED_DOMAIN else None


class Body:
    """A function body under construction: ONNX operators over named tensors."""

    def __init__(self) -> None:
        self.nodes: list[gs.Node] = []
        self.attributes: list[str] = []
        self._tensors: dict[str, gs.Tensor] = {"": gs.Variable.empty()}

    def tensor(self, name: str) -> gs.Tensor:
        """Return the tensor called `name`."""
        return self._tensors.setdefault(name, gs.Variable(name))

    def step(
        self,
        op: str,
        inputs: Iterable[str],
        output: str,
        references: Iterable[tuple[str, type]] = (),
        *,
        prefix: str = "",
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Append a node; `references` are attributes the caller gives, under `prefix` + name."""
        given: dict[str, Any] = dict(attrs or {})
        for name, kind in references:
            given[name] = _reference(prefix + name, kind)
            self.attributes.append(prefix + name)
        tensors = [self.tensor(name) for name in inputs]
        same = sum(node.op == op for node in self.nodes)
        name = f"{op}_{same}" if same else op  # ONNX Runtime wants names unique once inlined
        self.nodes.append(gs.Node(op, name, given, tensors, [self.tensor(output)]))

    def constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        """Make a constant and return its name."""
        self._tensors.setdefault(name, gs.Constant(name, values))
        return name

    def activate(self, activation: Activation, x: str, output: str, prefix: str) -> None:
        """Append `activation` of `x`."""
        names = {"x": x, "y": output} | {name: name for name in activation.operands}

        def named(operand: str | float) -> str:
            if isinstance(operand, str):
                return names.get(operand, prefix + operand)
            return self.constant(f"{prefix}{operand}", np.array(operand, np.float32))

        for index, step in enumerate(activation.steps):
            self.step(
                step.op,
                [named(operand) for operand in step.inputs],
                named(step.output),
                [(name, type(value)) for name, value in activation.defaults] if not index else (),
                prefix=prefix,
                attrs=dict(step.attrs),
            )

    def function(self, name: str, inputs: Iterable[str], output: str, opset: int) -> gs.Function:
        """Return the local function."""
        return gs.Function(
            name,
            FUSED_DOMAIN,
            nodes=self.nodes,
            inputs=[self.tensor(name) for name in inputs],
            outputs=[self.tensor(output)],
            opset=opset,
            import_domains=[onnx.helper.make_opsetid("", opset)],
            attrs=dict.fromkeys(self.attributes),
        )


@functools.lru_cache(maxsize=512)
def fused_function(fused: Fused, opset: int) -> gs.Function:
    """Return the local function of one fused operator for models of `opset`."""
    linear, activation, pool = fused.linear, fused.activation, fused.pool
    body = Body()
    inputs = list(linear.inputs)
    stages = [fused.residual, activation is not None, pool is not None]

    def result(stage: int, name: str) -> str:
        return name if any(stages[stage:]) else "Y"

    x = result(0, "linear")
    body.step(linear.op, linear.inputs, x, linear.attributes)
    if fused.residual:
        summed = result(1, "sum")
        # Written out again, the second operand is the one that is fused (`fuse-conv-activation`).
        body.step("Add", ["Z", x], summed)
        inputs.append("Z")
        x = summed
    if activation is not None:
        activated = result(2, "activated")
        body.activate(activation, x, activated, "activation_")
        inputs += activation.operands
        x = activated
    if pool is not None:
        body.step(pool.op, [x], "Y", pool.attributes, prefix="pool_")
    return body.function(fused.name, inputs, "Y", opset)


def _reference(name: str, kind: type) -> gs.Node.AttributeRef:
    from typing import List  # noqa: UP035 - GraphSurgeon compares with typing.List

    spelled = List[int] if kind == list[int] else kind  # noqa: UP006
    return gs.Node.AttributeRef(name, spelled)
