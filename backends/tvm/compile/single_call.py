"""Single-call programs: kernels in a row as one function, so that a run is one call.

    main(x) = { a = call_tir(f, x); b = call_tir(g, (a, w)); return b }
    becomes   network(x, w, arena, b) { team { f(x, &arena[0]); wait; g(&arena[0], w, b) } }

TVM's virtual machine prepares each call while it runs: it makes a tensor, packs arguments, and the
kernel checks them. Where all sizes are known, so are all addresses: kernels become private
functions of pointers, and intermediate tensors have places in one arena. It is the last parameter
of the new `main`: new memory for every run would cost a fault of the system for every page.

    network(x, n, arena, b) { team { f(x, &arena[0 * n], n); wait; g(&arena[0 * n], b, n) } }

Where the number of images is told by the feeds, places of tensors that grow with it are multiples
of it, planned for one image, and behind those of tensors that do not. The virtual machine has the
arena: it keeps memory that it freed for who asks for as much again.

TVM tells LLVM that no two buffers of a kernel overlap. Between kernels that is not so: a place of
the arena is another tensor's later. `keep_order` holds each kernel's loads and stores apart from
the next one's, also where LLVM puts both into one function.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..spec.calls import SizedKernels
from ..spec.machine import CpuMachine
from ..spec.open_sizes import images_each, is_planned, sizes_of, told_last, with_values
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
    sized: SizedKernels | None = None,
) -> Any:
    """Return `module` with all calls of `main` in one function, `network`.

    Where `main` does more than call kernels on tensors whose sizes are known, or grow with the
    number of images alone, `module` is returned as it is. `lent`: the arena is the last parameter
    of `main`, if its size is known; else the virtual machine has it. `apart` is given each kernel,
    and returns the symbol by which the linker is to find it; they are no part of the result.
    """
    from tvm import relax

    main = module["main"]
    sequence = read_calls(module, main)
    if sequence is None or not sequence.calls or (sized is None and sequence.images is not None):
        return module
    returned = returned_by(main, sequence)
    assert returned is not None
    fields = [sequence.held.get(field, [None])[0] for field in returned]
    outputs = [t for t in sequence.written if any(t is field for field in fields)]
    put = _KernelSink(module, apart, {} if sized is None else sized)
    network, size = _network(sequence, outputs, machine, threads, put)
    builder = relax.BlockBuilder(put.kernels)
    callee = builder.add_func(network, "network")
    memory = relax.TensorType([size], "uint8")
    told = [] if sequence.images is None else [sequence.images]
    lent = lent and not told
    arena = relax.Var(_ARENA, memory)
    params = [*main.params, arena] if lent else list(main.params)
    with builder.function("main", params, attrs=dict(main.attrs)):
        given = relax.Tuple([*sequence.given, *([arena] if lent else told)])
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
    sequence: CallSequence,
    outputs: Sequence[PlacedTensor],
    machine: CpuMachine,
    threads: int,
    put: _KernelSink,
) -> tuple[Any, Any]:
    """Return `network`, which calls kernels that `put` is given, and the arena's size."""
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    claims = Claims(machine, threads, put.kernels)
    images: Any = None if sequence.images is None else tirx.Var("images", "int64")
    told = {} if images is None else {sequence.images: images}
    phases = phases_of(_steps(sequence, put, told))
    given = set(sequence.given.values())
    lives = {one: life for one, life in lives_of(phases).items() if one not in given}
    inner = [tensor for tensor in lives if not any(tensor is one for one in outputs)]
    known = [tensor for tensor in inner if not tensor.grows]
    growing = [tensor for tensor in inner if tensor.grows]
    offsets, size = _planned(known, lives)
    each_offsets, each = _planned(growing, lives)
    size += claims.size
    status = ir.PrimType("int32")
    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name("network")
        script.func_attr({"tirx.is_scheduled": True})
        _declare("x", list(sequence.given.values()))
        if images is not None:
            script.arg("images", images)
        arena = _address(_ARENA)
        _declare("y", outputs)
        for tensor, offset in zip(known, offsets, strict=True):
            tensor.address = script.handle_add_byte_offset(arena, claims.size + offset)
        for tensor, offset in zip(growing, each_offsets, strict=True):
            tensor.address = script.handle_add_byte_offset(arena, images * offset + size)
        # What no later call reads needs no order.
        uses = Counter(t for phase in phases for step in phase for t in set(step.tensors))
        ordered = [arena, *(t.address for t in outputs if uses[t] > 1)]

        def place(operand: Any, image: Any) -> Any:
            if not isinstance(operand, PlacedTensor):
                return operand
            if image is None or not operand.grows:
                return operand.address
            return script.handle_add_byte_offset(operand.address, image * operand.size)

        def call(step: Step, *parts: Any, image: Any = None) -> Any:
            for pointer in ordered:
                keep_order(pointer)
            operands = [place(operand, image) for operand in step.operands]
            if isinstance(step.function, str):
                return tirx.call_extern("int32", step.function, *operands, *parts, *step.sizes)
            return ir.Call(step.function, [*operands, *parts, *step.sizes], ret_ty=status)

        team = Team(claims, machine, put.kernels, arena)
        for is_shared, some in itertools.groupby(phases, lambda phase: bool(phase[0].stage)):
            if is_shared:
                work = [[_work(step, call, images) for step in phase] for phase in some]
                _require_none(team.emit(work))
                continue
            for (step,) in some:
                if not step.each:
                    _require_none(call(step))
                    continue
                with script.serial(0, images) as image:
                    _require_none(call(step, image=image))
    whole = size if images is None else sequence.images * each + size
    return builder.get(), whole


def _require_none(failed: Any) -> None:
    """Emit that a run ends where a call has `failed`."""
    from tvm.tirx.script.builder import ir as script

    with script.Assert(failed == 0, "a kernel could not run"):
        pass


def _planned(
    tensors: Sequence[PlacedTensor], lives: Mapping[PlacedTensor, tuple[int, int]]
) -> tuple[list[int], int]:
    return plan([Lifetime(tensor.size, *lives[tensor]) for tensor in tensors])


@dataclass(frozen=True)
class _CalledKernel:
    """A kernel as it is called: its functions, and its stages, None where it has none.

    `each`: for one image.
    """

    functions: Sequence[Any]
    stages: KernelStages | None
    kernel: Any
    each: bool


class _KernelSink:
    """Puts kernels of `module` into `kernels`, or gives them to `apart`, which may be None.

    `sized`: what is called image by image in the place of a kernel of any number of images.
    """

    def __init__(
        self, module: Any, apart: Callable[[Any], str] | None, sized: SizedKernels
    ) -> None:
        import tvm

        self.kernels = tvm.IRModule()
        self._module = module
        self._apart = apart
        self._sized = sized
        self._forms: dict[tuple[str, int | None], _CalledKernel] = {}

    def form(self, call: SequenceCall) -> _CalledKernel:
        """Return how the kernel of `call` is called."""
        name = str(call.kernel.name_hint)
        count = images_each(call.sizes[0]) if len(call.sizes) == 1 else None
        sized = None if count is None else self._sized.get((name, count))
        key = name, None if sized is None else count
        if key not in self._forms:
            kernel = self._module[call.kernel] if sized is None else sized.function
            unique = name if sized is None else f"{name}_of_{count}"
            kernel = kernel if calls_outside(kernel) else simplified(kernel)
            stages = _stages(kernel)
            bodies = [one.function for one in stages.stages] if stages else [kernel]
            names = [f"{unique}_stage_{i}" if i else unique for i in range(len(bodies))]
            functions = list(map(self._function, names, bodies))
            self._forms[key] = _CalledKernel(functions, stages, kernel, sized is not None)
        return self._forms[key]

    def _function(self, name: str, function: Any) -> Any:
        function = of_pointers(function)
        if self._apart is not None and not calls_outside(function):
            return self._apart(function)
        # Stages of one kernel came with its name.
        self.kernels[name] = function.with_attr("global_symbol", name)
        return self.kernels.get_global_var(name)


def _steps(sequence: CallSequence, put: _KernelSink, told: Mapping[Any, Any]) -> Iterator[Step]:
    """Yield the steps of the calls of `sequence`.

    `told`: what variables of `main` are in the function that makes the calls.
    """
    for call in sequence.calls:
        form = put.form(call)
        sizes = [
            with_values(call.sizes[place], told)
            for place in (() if form.each else told_last(form.kernel))
        ]
        operands = [
            o if isinstance(o, PlacedTensor) else with_values(o, told) for o in call.operands
        ]
        if form.stages is None:
            yield Step(
                function=form.functions[0], operands=operands, written=call.written,
                stage=None, sizes=sizes, each=form.each,
            )  # fmt: skip
            continue
        values = dict(zip(sizes_of(form.kernel), call.sizes, strict=False))
        times = sequence.images if form.each else 1
        scratch = [PlacedTensor(_kind(one, values, times)) for one in form.stages.scratch]
        operands, written = [*operands, *scratch], [*call.written, *scratch]
        for function, stage in zip(form.functions, form.stages.stages, strict=True):
            here = replace(stage, parts=with_values(with_values(stage.parts, values), told))
            yield Step(
                function=function, operands=operands, written=written,
                stage=here, sizes=sizes, each=form.each,
            )  # fmt: skip


def _kind(buffer: Any, values: Mapping[Any, Any], times: Any) -> Any:
    from tvm import relax

    first, *others = [with_values(size, values) for size in buffer.shape]
    return relax.TensorType([times * first, *others], buffer.dtype)


def _work(step: Step, call: Callable[..., Any], images: Any) -> Work:
    assert step.stage is not None

    def part(first: Any, last: Any, image: Any = None) -> Any:
        return call(step, first, last, image=image)

    return Work(step.stage.parts, [part], images if step.each else None)


def _stages(kernel: Any) -> KernelStages | None:
    # ONNX Runtime is asked by the thread that runs the network, which knows how many it may use.
    found = None if calls_outside(kernel) else stages_of(kernel)
    planned = found is not None and all(is_planned(buffer.shape) for buffer in found.scratch)
    return found if planned else None


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
