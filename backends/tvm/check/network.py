"""A network all of whose kernels are right: nodes of others are left to ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError
from ....ir.core.variables import node_key
from ..compile.blame import uncompiled
from ..compile.cpu import CpuToolchain
from ..compile.toolchain import Toolchain, UncompiledError
from ..kernels.settings import Settings
from ..program.lowering import Lowered
from ..runtime.built import Built
from .check import KernelReport, check_kernels
from .report import WrongKernelWarning, nodes_of, told

Lower = Callable[[frozenset[str]], Lowered]


@dataclass(frozen=True)
class CheckedNetwork:
    """A program, its code, and what its kernels were found to be."""

    lowered: Lowered
    built: Built
    kernels: str


def build_network(
    graph: gs.Graph, lower: Lower, toolchain: Toolchain, settings: Settings, *, check: bool
) -> CheckedNetwork:
    """Return the program that `lower` makes of a prepared `graph`, and its code.

    `lower` is told which nodes ONNX Runtime is to run, by a result: those that TVM does not
    compile, and, with `check`, those whose kernels are wrong. Raises BackendError.
    """
    elsewhere: frozenset[str] = frozenset()
    wrong = 0
    while True:
        lowered = lower(elsewhere)
        try:
            built, report = _both(lowered, toolchain, check=check)
        except UncompiledError:
            more = uncompiled(graph, toolchain, settings) - elsewhere
            if not more:
                raise
            elsewhere |= more
            continue
        if report is None or not report.wrong:
            return CheckedNetwork(lowered, built, _line(report, wrong))
        wrong += len(report.wrong)
        elsewhere |= _left_out(graph, lowered, report, elsewhere)


def _both(
    lowered: Lowered, toolchain: Toolchain, *, check: bool
) -> tuple[Built, KernelReport | None]:
    """Compile the program, and meanwhile compare its kernels, where its code runs here."""
    if not check or not isinstance(toolchain, CpuToolchain) or not toolchain.runs_here():
        return toolchain.build(lowered.module), None
    with ThreadPoolExecutor(1) as other:
        report = other.submit(check_kernels, lowered, toolchain)
        built = toolchain.build(lowered.module)
        return built, report.result()


def _left_out(
    graph: gs.Graph, lowered: Lowered, report: KernelReport, elsewhere: frozenset[str]
) -> frozenset[str]:
    """Return results of the nodes whose kernels are wrong, and warn; raises BackendError."""
    nodes = nodes_of(lowered, report.wrong)
    found = {
        tensor.name
        for node in graph.nodes
        if node_key(node) in nodes
        for tensor in node.outputs
        if not tensor.is_empty()
    }
    lines = [told(lowered, one) for one in report.wrong]
    if found <= elsewhere:  # a kernel of theirs, and yet another's to run
        raise BackendError(f"backend 'tvm' cannot run this network: {lines[0]}")
    for line in lines:
        warnings.warn(f"{line}; ONNX Runtime runs these nodes", WrongKernelWarning, stacklevel=2)
    return frozenset(found)


def _line(report: KernelReport | None, wrong: int) -> str:
    if report is None:
        return "not compared one by one"
    if not report.right and not report.others and not wrong:
        return "none of planish's own"
    found = [f"{report.right} compared one by one"]
    found.append(f"{wrong} wrong and not used" if wrong else "all right")
    if report.blind:
        found.append(f"{report.blind} of which give one number whatever they are given")
    if report.others:
        found.append(f"{report.others} not compared")
    return ", ".join(found)
