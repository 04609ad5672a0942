"""planish's kernels in a Relax module that anyone made: TVM's importers, or a person.

What planish knows of a function is written as ONNX graphs (`regions`), each of which goes through
planish's exact passes and is emitted in its place as calls of planish's kernels. The rest stays as
it was, and the module says why.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from ...backends.contract.prepare import prepare
from ...backends.tvm.check.check import cache_of_checks, check_kernels
from ...backends.tvm.check.nodes import check_nodes
from ...backends.tvm.check.report import nodes_of
from ...backends.tvm.compile.cpu import CpuToolchain
from ...backends.tvm.kernels.settings import Settings
from ...backends.tvm.program.blocked import BlockedProgram
from ...backends.tvm.program.emit_graph import BlockedEmitter
from ...backends.tvm.program.faults import OwnFaultError
from ...backends.tvm.program.lowering import Lowered, emit_between, tidy
from ...backends.tvm.program.onnxruntime import OtherRuntimeError
from ...backends.tvm.program.program import Enclosing
from ...backends.tvm.runtime.threads import run_on
from ...backends.tvm.spec.machine import CpuMachine
from ...ir.core.decline import DeclinedError
from ...ir.core.errors import BackendError
from ...ir.core.variables import node_key
from .regions import Region, Sorter

LEFT = "planish.left"
_FUNCTION = "planish_dispatched"


@dataclass(frozen=True)
class LeftOperator:
    """An operator of a `function` that TVM compiles: its `variable`, `op`, and the `reason`."""

    function: str
    variable: str
    op: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DispatchOptions:
    """What kernels are made for, and whether each is compared once with what it computes."""

    machine: CpuMachine
    threads: int
    winograd: bool = True
    check_kernels: bool = True

    @property
    def settings(self) -> Settings:
        """What emitters are told."""
        return Settings(winograd=self.winograd, threads=self.threads)


def left_to_tvm(module: Any) -> list[LeftOperator]:
    """Return the operators of a dispatched `module` that are not planish's, and why."""
    attrs = module.attrs
    told = json.loads(str(attrs[LEFT])) if attrs is not None and LEFT in attrs else []
    return [LeftOperator(*fields) for fields in told]


def dispatch(module: Any, options: DispatchOptions) -> Any:
    """Return `module` with planish's kernels in its Relax functions."""
    import tvm
    from tvm import relax

    module = run_on(1, lambda: _simplified(module))
    left: list[LeftOperator] = []
    for name in list(module.get_global_vars()):
        function = module[name]
        if isinstance(function, relax.Function) and isinstance(function.body, relax.SeqExpr):
            module = _Dispatch(module, name, options).run(left)
    told = json.dumps([[o.function, o.variable, o.op, o.reason] for o in left])
    return tvm.IRModule(dict(module.functions_items()), attrs=module.attrs).with_attr(LEFT, told)


def _simplified(module: Any) -> Any:
    """Return `module` with constants folded, and without pairs that are made and taken apart."""
    import tvm
    from tvm.relax import transform

    passes = [
        transform.CanonicalizeBindings(),
        transform.FoldConstant(),
        transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(module)


@dataclass(frozen=True)
class _Emitted:
    """A region, its graph behind planish's passes, and the program that calls its kernels."""

    region: Region
    graph: gs.Graph
    program: BlockedProgram


class _RefusedError(Exception):
    """Bindings that are not planish's after all: what is known of the region is `left`."""

    def __init__(self, left: Mapping[Any, str]) -> None:
        super().__init__()
        self.left = left


class _Dispatch:
    """Dispatches one function; what turns out not to be planish's is left in the next attempt."""

    def __init__(self, module: Any, name: Any, options: DispatchOptions) -> None:
        self._module = module
        self._name = name
        self._options = options
        self._left: dict[Any, str] = {}
        self._converted: dict[Any, str] = {}
        self._programs: list[_Emitted] = []

    def run(self, left: list[LeftOperator]) -> Any:
        """Return the module so; what is left is appended to `left`."""
        while True:
            try:
                found = self._attempt()
                break
            except _RefusedError as refused:
                self._left = {**self._left, **refused.left}
        function = self._module[self._name]
        for block in function.body.blocks:
            left += filter(None, map(self._told, block.bindings))
        return found

    def _told(self, binding: Any) -> LeftOperator | None:
        reason = self._left.get(binding.var) or self._converted.get(binding.var)
        if not reason:
            return None
        op = getattr(getattr(binding.value, "op", None), "name", type(binding.value).__name__)
        return LeftOperator(str(self._name.name_hint), str(binding.var.name), op, reason)

    def _attempt(self) -> Any:
        import tvm
        from tvm import relax

        function = self._module[self._name]
        self._programs, self._converted = [], {}
        builder = relax.BlockBuilder(self._module)
        attrs = {k: v for k, v in dict(function.attrs or {}).items() if k != "global_symbol"}
        scope = builder.function(
            _FUNCTION, list(function.params), attrs=attrs, pure=bool(function.is_pure)
        )
        with scope, tidy(builder):
            for block in function.body.blocks:
                flows = isinstance(block, relax.DataflowBlock)
                with builder.dataflow() if flows else contextlib.nullcontext():
                    self._emit(builder, block, function, flows)
            made = builder.emit_func_output(function.body.body)
        emitted = builder.get()
        self._check(emitted)
        symbol = (function.attrs or {}).get("global_symbol")
        result = emitted[made].without_attr("global_symbol")
        result = result if symbol is None else result.with_attr("global_symbol", symbol)
        functions = {k: v for k, v in emitted.functions_items() if k != made}
        functions[next(k for k in functions if k.name_hint == self._name.name_hint)] = result
        return tvm.IRModule(functions, attrs=self._module.attrs)

    def _emit(self, builder: Any, block: Any, function: Any, flows: bool) -> None:
        from tvm import relax

        if not flows:
            for binding in block.bindings:
                builder.emit_normalized(binding)
            return
        sorter = Sorter(block.bindings, self._left, self._module)
        levels = sorter.levels()
        readers: dict[Any, set[int]] = {}
        for number, level in enumerate(levels):
            for part, bindings in enumerate((level.left, level.written)):
                for binding in bindings:
                    for var in relax.analysis.free_vars(binding.value):
                        readers.setdefault(var, set()).add(2 * number + part)
        for number, level in enumerate(levels):
            for binding in level.left:
                builder.emit_normalized(binding)
            if not level.written:
                continue
            here = 2 * number + 1
            later = {
                b.var
                for b in level.written
                if not isinstance(b.var, relax.DataflowVar) or readers.get(b.var, set()) - {here}
            }
            try:
                region = sorter.region(level.written, later)
            except DeclinedError as declined:
                raise _RefusedError(sorter.left) from declined
            self._emit_region(builder, region, sorter)
        self._left = sorter.left

    def _emit_region(self, builder: Any, region: Region, sorter: Sorter) -> None:
        from tvm import relax

        options = self._options
        taken = {str(name.name_hint) for name in self._module.get_global_vars()}
        number = len(self._programs)
        while any(name.startswith(f"planish{number}_") for name in taken):
            number += 1
        enclosing = Enclosing(builder=builder, sizes=region.sizes, prefix=f"planish{number}_")
        graph = prepare(region.graph)
        emitter = BlockedEmitter(graph, options.machine, options.settings, enclosing=enclosing)
        try:
            found = emit_between(emitter, region.inputs)
        except OtherRuntimeError as error:
            raise self._refused(region, sorter, [error.node], error.why) from error
        except OwnFaultError as error:
            raise self._refused(region, sorter, [], str(error.error)) from error
        except BackendError as error:
            raise self._refused(region, sorter, [], str(error)) from error
        program = emitter.program
        if not any(call.kernel and call.nodes for call in program.calls):
            reason = "planish has no kernel for it"
            raise self._refused(region, sorter, [], reason)
        self._programs.append(_Emitted(region, graph, program))
        for var, expr in zip(region.outputs, found, strict=True):
            builder.emit_normalized(relax.VarBinding(var, expr))

    def _refused(
        self, region: Region, sorter: Sorter, nodes: list[Any], reason: str
    ) -> _RefusedError:
        """Return what leaves the bindings of `nodes`, or of all where none is known."""
        found = {var for var in map(region.variable, nodes) if var is not None}
        return _RefusedError(
            {**sorter.left, **dict.fromkeys(found or region.names.values(), reason)}
        )

    def _check(self, module: Any) -> None:
        """Compare kernels one by one; the bindings of wrong ones are left."""
        toolchain = CpuToolchain(self._options.machine, self._options.threads)
        for emitted in self._programs:
            region, graph, program = emitted.region, emitted.graph, emitted.program
            self._note_converted(emitted)
            if not self._options.check_kernels or not toolchain.runs_here():
                continue
            lowered = Lowered(
                module=module,
                constants=[],
                kernels=program.kernels,
                calls=program.calls,
                singles=program.singles,
            )
            report = check_kernels(lowered, toolchain).and_nodes(
                check_nodes(lowered, graph, toolchain, cache_of_checks())
            )
            if report.wrong:
                named = nodes_of(lowered, report.wrong)
                nodes = [node for node in graph.nodes if node_key(node) in named]
                reason = "planish's kernel was found wrong"
                found = {v for v in map(region.variable, nodes) if v is not None}
                raise _RefusedError(
                    {**self._left, **dict.fromkeys(found or region.names.values(), reason)}
                )

    def _note_converted(self, emitted: _Emitted) -> None:
        """Note what TVM's own operators compute inside a region."""
        nodes = {node_key(node): node for node in emitted.graph.nodes}
        for call in emitted.program.calls:
            for name in call.nodes if not call.kernel else ():
                var = emitted.region.variable(nodes[name]) if name in nodes else None
                if var is not None:
                    self._converted[var] = "planish hands it to TVM, in a region of its own kernels"
