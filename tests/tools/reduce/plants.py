"""Faults of ten kinds, planted in a network: by pattern, by number, and in what ends a process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from planish.tools.reduce.apart import Limits
from planish.tools.reduce.case import Case
from planish.tools.reduce.known import run_reference
from planish.tools.reduce.suspects import Checked, Suspect, signature

Node = onnx.NodeProto


_USUAL = Limits()


@dataclass(frozen=True)
class Plant:
    """A fault: who sees it, and within what a candidate is judged."""

    name: str
    suspect: Suspect
    limits: Limits = _USUAL


def plants(seed: int) -> list[Plant]:
    """Return one fault of each kind; the seed chooses the place and the numbers."""
    rng = np.random.default_rng(seed)
    chain = CHAINS[seed % len(CHAINS)]
    steps, least = [1, 2][seed % 2], int(rng.choice([128, 256, 512]))
    bound = float(rng.uniform(0.5, 1.5))

    def has_chain(model: onnx.ModelProto) -> bool:
        return bool(_chains(model, chain))

    def joins(model: onnx.ModelProto) -> bool:
        makers = _makers(model)
        return any(
            node.op_type == "Add"
            and {getattr(makers.get(n), "op_type", "") for n in node.input} == {JOINS[seed % 2], BN}
            for node in model.graph.node
        )

    def far_apart(model: onnx.ModelProto) -> bool:
        found = {node.op_type for node in model.graph.node}
        return set(FAR[seed % len(FAR)]) <= found

    def strided(model: onnx.ModelProto) -> bool:
        return any(
            _ints(node, "strides") == [steps] * 2 and _ints(node, "pads") == [1] * 4
            for node in model.graph.node
            if node.op_type == "Conv"
        )

    def wide(model: onnx.ModelProto) -> bool:
        dims = {t.name: list(t.dims) for t in model.graph.initializer}
        return any(
            node.op_type == "Conv" and dims.get(node.input[1], [0, 0])[1] >= least
            for node in model.graph.node
        )

    def aborts(model: onnx.ModelProto) -> bool:
        if has_chain(model):
            os.abort()
        return False

    def hangs(model: onnx.ModelProto) -> bool:
        while has_chain(model):
            time.sleep(0.01)
        return False

    return [
        Plant("a chain", Checked(has_chain)),
        Plant("a join", Checked(joins)),
        Plant("far apart", Checked(far_apart)),
        Plant("attributes", Checked(strided)),
        Plant("a size", Checked(wide)),
        Plant("a crash", Checked(aborts)),
        Plant("no end", Checked(hangs), Limits(seconds=2.0)),
        Plant("an error", _Raises(chain)),
        Plant("a wrong operator", _Differs(chain[-1])),
        Plant("a wrong value", _Differs(chain[-1], bound)),
    ]


BN = "BatchNormalization"
CHAINS = (
    ("Conv", BN, "Relu"),
    ("Add", "Relu", "Conv"),
    ("Relu", "MaxPool"),
    ("GlobalAveragePool", "Flatten"),
    (BN, "Add"),
)
JOINS = (BN, "Relu")
FAR = (("MaxPool", "Gemm"), ("Add", "Flatten"), ("MaxPool", "GlobalAveragePool", "Add"))


@dataclass(frozen=True)
class _Raises:
    """Code that cannot take a chain of operators."""

    chain: tuple[str, ...]

    def __call__(self, case: Case) -> str:
        try:
            for node in _chains(case.model, self.chain):
                raise KeyError(node.name)
        except KeyError as error:
            return signature(error)
        return ""


@dataclass(frozen=True)
class _Differs:
    """A runtime that is wrong about an operator: it negates, or gives no more than `bound`."""

    operator: str
    bound: float | None = None

    def __call__(self, case: Case) -> str:
        wanted, found = run_reference(case), run_reference(replace(case, model=self._broken(case)))
        apart = any(
            np.abs(wanted[name] - found[name]).max() > 1e-3 * np.abs(wanted[name]).max()
            for name in wanted
        )
        return "outputs differ" if apart else ""

    def _broken(self, case: Case) -> onnx.ModelProto:
        model = case.copy().model
        nodes = []
        for node in model.graph.node:
            nodes.append(node)
            if node.op_type == self.operator:
                right, (name,) = f"{node.output[0]} right", node.output
                node.output[0] = right
                if self.bound is None:
                    nodes.append(helper.make_node("Neg", [right], [name]))
                else:
                    nodes.append(helper.make_node("Min", [right, "bound"], [name]))
        if self.bound is not None:
            model.graph.initializer.append(helper.make_tensor("bound", 1, [], [self.bound]))
        copies = [Node.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
        return model


def _makers(model: onnx.ModelProto) -> dict[str, Node]:
    return {name: node for node in model.graph.node for name in node.output}


def _chains(model: onnx.ModelProto, chain: tuple[str, ...]) -> list[Node]:
    """Return the last nodes of all chains of these operators."""
    makers = _makers(model)

    def ends(node: Node | None, operators: tuple[str, ...]) -> bool:
        if node is None or node.op_type != operators[-1]:
            return False
        rest = operators[:-1]
        return not rest or any(ends(makers.get(name), rest) for name in node.input)

    return [node for node in model.graph.node if ends(node, chain)]


def _ints(node: Node, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])
