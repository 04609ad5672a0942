"""A network all of whose kernels are right: nodes of others are left to ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError, GraphError
from ....ir.core.variables import node_key
from ....ir.run.contradiction import Contradiction
from ....passes.engine.records import Failure
from ..compile.blame import uncompiled
from ..compile.cpu import CpuToolchain
from ..compile.toolchain import Toolchain, UncompiledError
from ..kernels.settings import Settings
from ..program.faults import OwnFaultError, is_own, said
from ..program.lowering import Lowered
from ..runtime.built import Built
from ..runtime.threads import making_code
from .check import KernelReport, cache_of_checks, check_kernels
from .nodes import NodeReport, check_nodes
from .report import WrongKernelWarning, nodes_of, told


class OwnFaultWarning(UserWarning):
    """A mistake of planish's own, over which ONNX Runtime runs a node instead."""


Lower = Callable[[frozenset[str]], Lowered]


@dataclass(frozen=True)
class CheckedNetwork:
    """A program, its code, and what its kernels were found to be."""

    lowered: Lowered
    built: Built
    kernels: str


def build_network(
    graph: gs.Graph,
    lower: Lower,
    toolchain: Toolchain,
    settings: Settings,
    *,
    check: bool,
    strict: bool = False,
) -> CheckedNetwork:
    """Return the program that `lower` makes of a prepared `graph`, and its code.

    `lower` is told which nodes ONNX Runtime is to run, by a result: those that TVM does not
    compile, those over which planish's own code fails, which is said, and, with `check`, those
    whose kernels are wrong. With `strict`, what planish's own code raises is raised. Raises
    BackendError.
    """
    elsewhere: frozenset[str] = frozenset()
    wrong = 0
    while True:
        try:
            lowered = lower(elsewhere)
            built, report = _both(graph, lowered, toolchain, check=check, strict=strict)
        except OwnFaultError as fault:
            more = fault.results - elsewhere
            _hand_over(graph, fault.error, fault.node, more, strict=strict)
            if not more:
                raise
        except UncompiledError as error:
            more = uncompiled(graph, toolchain, settings) - elsewhere
            if error.__cause__ is not None and is_own(error.__cause__):
                _hand_over(graph, error.__cause__, "a node", more, strict=strict)
            if not more:
                raise
        else:
            if report is None or not report.wrong:
                return CheckedNetwork(lowered, built, _line(report, wrong))
            wrong += len(report.wrong)
            more = _left_out(graph, lowered, report, elsewhere)
        elsewhere |= more


def _hand_over(
    graph: gs.Graph, error: BaseException, node: str, results: frozenset[str], *, strict: bool
) -> None:
    """Say that ONNX Runtime runs the nodes of `results`, since planish fails over them.

    Raises GraphError where that is the graph's own contradiction, and `error` where `strict`.
    """
    reason = Contradiction(graph)()
    if reason is not None:
        raise GraphError(reason) from error
    if strict:
        raise error
    if results:
        _warn(node, f"left {node} to ONNX Runtime", error)


def _warn(where: str, done: str, error: BaseException) -> None:
    failure = Failure(pass_name="lower", place="lowering to TVM", node=where, error=said(error))
    text = f"{failure.place} {done}: {failure.error}; {failure.report}"
    warnings.warn(text, OwnFaultWarning, stacklevel=3)


def _both(
    graph: gs.Graph, lowered: Lowered, toolchain: Toolchain, *, check: bool, strict: bool
) -> tuple[Built, KernelReport | None]:
    """Compile the program, and meanwhile compare its kernels, where its code runs here.

    Nodes are emitted to be compared, which TVM's builders do in one thread at a time.
    """
    if not check or not toolchain.runs_here():
        return toolchain.build(lowered.module, sized=lowered.sized), None
    own = KernelReport(0)
    if isinstance(toolchain, CpuToolchain):
        with making_code, ThreadPoolExecutor(1) as other:
            report = other.submit(check_kernels, lowered, toolchain)
            built = toolchain.build(lowered.module, sized=lowered.sized)
            own = report.result()
            if lowered.sized and not built.single_call:
                own = check_kernels(lowered, toolchain, sized=False)
    else:
        built = toolchain.build(lowered.module, sized=lowered.sized)
    return built, own.and_nodes(_nodes(graph, lowered, toolchain, strict))


def _nodes(graph: gs.Graph, lowered: Lowered, toolchain: Toolchain, strict: bool) -> NodeReport:
    """Compare single nodes; where that itself fails, they are not compared."""
    try:
        return check_nodes(lowered, graph, toolchain, cache_of_checks())
    except Exception as error:
        if strict or isinstance(error, MemoryError):
            raise
        _warn("the check of nodes", "went on without it", error)
        return NodeReport(others=len(lowered.singles))


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
