"""Single-call programs: kernels in a row as one function, so that a run is one call.

    main(x) = { a = call_tir(f, x); b = call_tir(g, (a, w)); return b }
    becomes   network(x, w, arena, b) { team { f(x, &arena[0]); wait; g(&arena[0], w, b) } }

TVM's virtual machine prepares each call while it runs: it makes a tensor, packs arguments, and the
kernel checks them. Where all sizes are known, so are all addresses: kernels become private
functions of pointers, and intermediate tensors have places in one arena. It is the last parameter
of the new `main`: new memory for every run would cost a fault of the system for every page.

TVM tells LLVM that no two buffers of a kernel overlap. Between kernels that is not so: a place of
the arena is another tensor's later. `keep_order` holds each kernel's loads and stores apart from
the next one's, also where LLVM puts both into one function.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from ..spec.machine import CpuMachine
from .call_sequence import CallSequence, PlacedTensor, SequenceCall, read_calls, returned_by
from .claim import Claims
from .memory import Lifetime, plan
from .onnxruntime_calls import calls_outside
from .order import keep_order
from .phases import Step, lives_of, phases_of
from .pointer_kernels import of_pointers
from .simplify import simplified
from .team import KernelStages, Team, Work, stages_of

_ARENA = "arena"
_DATA, _OFFSET = 1, 8  # TVM's numbers for what a tensor begins at, and how far behind


def merge_calls(
    module: Any,
    machine: CpuMachine,
    threads: int,
    *,
    lent: bool = True,
    apart: Callable[[Any], str] | None = None,
) -> Any:
    """Return `module` with all calls of `main` in one function, `network`.

    Where `main` does more than call kernels on tensors of known sizes, `module` is returned as it
    is. `lent`: the arena is the last parameter of `main`; else the virtual machine has it. `apart`
    is given each kernel, and returns the symbol by which the linker is to find it; they are no part
    of the result.
    """
    from tvm import relax

    main = module["main"]
    sequence = read_calls(module, main)
    if sequence is None or not sequence.calls:
        return module
    returned = returned_by(main, sequence)
    assert returned is not None
    fields = [sequence.held.get(field, [None])[0] for field in returned]
    outputs = [t for t in sequence.written if any(t is field for field in fields)]
    kernels, network, size = _network(module, sequence, outputs, machine, threads, apart)
    builder = relax.BlockBuilder(kernels)
    callee = builder.add_func(network, "network")
    memory = relax.TensorType([size], "uint8")
    arena = relax.Var(_ARENA, memory)
    params = [*main.params, arena] if lent else list(main.params)
    with builder.function("main", params, attrs=dict(main.attrs)):
        given = relax.Tuple([*sequence.given, *([arena] if lent else [])])
        kinds = [*([] if lent else [memory]), *(tensor.kind for tensor in outputs)]
        made = builder.emit(relax.call_tir(callee, given, kinds))
        found = made if len(kinds) > 1 else relax.Tuple([made])
        places = {id(tensor): i for i, tensor in enumerate(outputs, 0 if lent else 1)}
        exprs = [
            relax.TupleGetItem(found, places[id(tensor)]) if id(tensor) in places else expr
            for tensor, expr in zip(fields, returned, strict=True)
        ]
        single = isinstance(main.ret_ty, relax.TensorType)
        builder.emit_func_output(exprs[0] if single else relax.Tuple(exprs))
    return builder.get()


def arena_of(module: Any) -> int:
    """Return the bytes of the arena that `main` is given after all else, 0 where it has none."""
    last = list(module["main"].params)[-1:]
    return int(last[0].ty.shape[0]) if last and last[0].name == _ARENA else 0


def _network(
    module: Any,
    sequence: CallSequence,
    outputs: Sequence[PlacedTensor],
    machine: CpuMachine,
    threads: int,
    apart: Callable[[Any], str] | None,
) -> tuple[Any, Any, int]:
    """Return a module of the kernels, `network`, which calls them, and the arena's size."""
    import tvm
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    kernels = tvm.IRModule()
    claims = Claims(machine, threads, kernels)
    phases = phases_of(_steps(module, sequence.calls, kernels, apart))
    given = set(sequence.given.values())
    lives = {one: life for one, life in lives_of(phases).items() if one not in given}
    inner = [tensor for tensor in lives if not any(tensor is one for one in outputs)]
    offsets, size = plan([Lifetime(tensor.size, *lives[tensor]) for tensor in inner])
    status = ir.PrimType("int32")
    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name("network")
        script.func_attr({"tirx.is_scheduled": True})
        _declare("x", list(sequence.given.values()))
        arena = _address(_ARENA)
        _declare("y", outputs)
        for tensor, offset in zip(inner, offsets, strict=True):
            tensor.address = script.handle_add_byte_offset(arena, claims.size + offset)
        # What no later call reads needs no order.
        ordered = [arena, *(t.address for t in outputs if len(set(lives[t])) > 1)]

        def call(step: Step, *parts: Any) -> Any:
            for pointer in ordered:
                keep_order(pointer)
            operands = [o.address if isinstance(o, PlacedTensor) else o for o in step.operands]
            if isinstance(step.function, str):
                return tirx.call_extern("int32", step.function, *operands, *parts)
            return ir.Call(step.function, [*operands, *parts], ret_ty=status)

        team = Team(claims, machine, kernels, arena)
        for is_shared, some in itertools.groupby(phases, lambda phase: bool(phase[0].stage)):
            if is_shared:
                made: Iterable[Any] = [
                    team.emit([[_work(step, call) for step in phase] for phase in some])
                ]
            else:
                made = (call(step) for (step,) in some)
            for failed in made:
                with script.Assert(failed == 0, "a kernel could not run"):
                    pass
    return kernels, builder.get(), claims.size + size


def _steps(
    module: Any,
    calls: Sequence[SequenceCall],
    kernels: Any,
    apart: Callable[[Any], str] | None,
) -> Iterator[Step]:
    """Yield the steps of `calls`; their functions are put in `kernels`, or given to `apart`."""

    def put(name: str, function: Any) -> Any:
        function = of_pointers(function)
        if apart is not None and not calls_outside(function):
            return apart(function)
        # Stages of one kernel came with its name.
        kernels[name] = function.with_attr("global_symbol", name)
        return kernels.get_global_var(name)

    known: dict[Any, KernelStages | None] = {}
    functions: dict[Any, list[Any]] = {}
    for call in calls:
        kernel = call.kernel
        if kernel not in known:
            found = known[kernel] = _stages(module[kernel])
            bodies = [one.function for one in found.stages] if found else [module[kernel]]
            names = [
                f"{kernel.name_hint}_stage_{i}" if i else str(kernel.name_hint)
                for i in range(len(bodies))
            ]
            functions[kernel] = list(map(put, names, bodies))
        stages = known[kernel]
        if stages is None:
            yield Step(functions[kernel][0], call.operands, call.written, None)
            continue
        scratch = [PlacedTensor(buffer) for buffer in stages.scratch]
        operands, written = [*call.operands, *scratch], [*call.written, *scratch]
        for function, stage in zip(functions[kernel], stages.stages, strict=True):
            yield Step(function, operands, written, stage)


def _work(step: Step, call: Callable[..., Any]) -> Work:
    assert step.stage is not None
    return Work(step.stage.parts, [partial(call, step)])


def _stages(kernel: Any) -> KernelStages | None:
    # ONNX Runtime is asked by the thread that runs the network, which knows how many it may use.
    return None if calls_outside(kernel) else stages_of(simplified(kernel))


def _declare(name: str, tensors: Sequence[PlacedTensor]) -> None:
    """Declare parameters, and record that they are where `tensors` are.

    They are no buffers: TVM checks each size and stride of one, which `main` has told them, and
    LLVM takes ten seconds for thousands of such checks in one function.
    """
    for index, tensor in enumerate(tensors):
        tensor.address = _address(f"{name}{index}")


def _address(name: str) -> Any:
    """Declare a parameter that is a tensor, and return where its elements lie."""
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    handle = script.arg(name, script.handle())
    data = tirx.tvm_struct_get(handle, 0, _DATA, "handle")
    offset = tirx.tvm_struct_get(handle, 0, _OFFSET, "uint64")
    return script.Bind(script.handle_add_byte_offset(data, tirx.Cast("int64", offset)))
