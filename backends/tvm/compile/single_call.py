"""Single-call programs: kernels in a row as one function, so that a run is one call.

    main(x) = { a = call_tir(f, x); b = call_tir(g, (a, w)); return b }
    becomes   network(x, w, arena, b) { team { f(x, &arena[0]); barrier; g(&arena[0], w, b) } }

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
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .generic import RESHAPE
from .memory import Lifetime, plan
from .onnxruntime_calls import calls_outside
from .order import keep_order
from .pointer_kernels import of_pointers
from .team import barrier, of_share, team

_ARENA = "arena"
_DATA, _OFFSET = 1, 8  # TVM's numbers for what a tensor begins at, and how far behind


@dataclass(eq=False)
class _Tensor:
    """Memory of the type `kind`, used from call `first` to call `last`; its address in the end."""

    kind: Any
    first: int
    last: int
    address: Any = None

    @property
    def shape(self) -> list[int]:
        """The sizes, all known."""
        return [int(size) for size in self.kind.shape]

    @property
    def lifetime(self) -> Lifetime:
        """What the arena must know of it."""
        size = math.prod(self.shape) * np.dtype(str(self.kind.dtype)).itemsize
        return Lifetime(size, self.first, self.last)


@dataclass(kw_only=True)
class _CallSequence:
    """A `main` as it is read: tensors it is given and reads, its calls, and what they write."""

    given: dict[Any, _Tensor] = field(default_factory=dict)
    calls: list[tuple[Any, list[Any]]] = field(default_factory=list)
    written: list[_Tensor] = field(default_factory=list)
    tuples: dict[Any, list[Any]] = field(default_factory=dict)
    held: dict[Any, list[_Tensor]] = field(default_factory=dict)
    reshapes: frozenset[Any] = frozenset()  # kernels that give a tensor other sizes
    returned: frozenset[Any] = frozenset()
    claimed: list[_Tensor] = field(default_factory=list)  # results, in the sizes they are given in

    def read(self, expr: Any) -> list[Any]:
        """Return what an argument of the next call stands for: tensors, or a number."""
        from tvm import relax

        if not isinstance(expr.ty, relax.TensorType | relax.TupleType):
            return [expr]
        if expr not in self.held:  # a parameter or constant
            self.given[expr] = _Tensor(expr.ty, 0, 0)
            self.held[expr] = [self.given[expr]]
        for tensor in self.held[expr]:
            tensor.last = len(self.calls)
        return self.held[expr]

    def alias(self, variable: Any, expr: Any) -> bool:
        """Let `variable` be the memory of `expr`, which has the same elements in other sizes.

        False where it is a result, and that memory is no result's yet to be given in its sizes.
        """
        found = self.held.get(expr, [])
        if variable in self.returned:
            if not any(found[0] is tensor for tensor in self.written) if found else True:
                return False
            if expr in self.returned or any(found[0] is tensor for tensor in self.claimed):
                return False
            found[0].kind = variable.ty
            self.claimed.append(found[0])
        self.held[variable] = self.read(expr)
        return True

    def write(self, kinds: Sequence[Any]) -> list[_Tensor]:
        """Return the tensors that the next call makes."""
        step = len(self.calls)
        found = [_Tensor(kind, step, step) for kind in kinds]
        self.written += found
        return found


def merge_calls(
    module: Any, *, lent: bool = True, apart: Callable[[Any], str] | None = None
) -> Any:
    """Return `module` with all calls of `main` in one function, `network`.

    Where `main` does more than call kernels on tensors of known sizes, `module` is returned as it
    is. `lent`: the arena is the last parameter of `main`; else the virtual machine has it. `apart`
    is given each kernel, and returns the symbol by which the linker is to find it; they are no part
    of the result.
    """
    from tvm import relax

    main = module["main"]
    sequence = _read(module, main)
    if sequence is None or not sequence.calls:
        return module
    returned = _returned(main, sequence)
    assert returned is not None
    fields = [sequence.held.get(field, [None])[0] for field in returned]
    outputs = [t for t in sequence.written if any(t is field for field in fields)]
    kernels, network, size = _network(module, sequence, outputs, apart)
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


def _read(module: Any, main: Any) -> _CallSequence | None:
    """Return what `main` does, or None where it is more than calls on tensors of known sizes."""
    from tvm import relax

    sequence = _CallSequence(reshapes=_reshapes(module), returned=_given_back(main))
    if not isinstance(main.body, relax.SeqExpr) or not all(map(_is_known, main.params)):
        return None
    for block in main.body.blocks:
        for binding in block.bindings:
            if not _take(sequence, binding):
                return None
    return None if _returned(main, sequence) is None else sequence


def _reshapes(module: Any) -> frozenset[Any]:
    return frozenset(
        name for name, function in module.functions_items()
        if function.attrs is not None and RESHAPE in function.attrs
    )  # fmt: skip


def _given_back(main: Any) -> frozenset[Any]:
    """Return the variables that `main` gives, by whatever name."""
    from tvm import relax

    if not isinstance(main.body, relax.SeqExpr):
        return frozenset()
    bindings = [each for block in main.body.blocks for each in block.bindings]
    waiting, found = [main.body.body], set()
    values = {each.var: getattr(each, "value", None) for each in bindings}
    while waiting:
        expr = waiting.pop()
        if isinstance(expr, relax.Tuple):
            waiting += list(expr.fields)
            continue
        found.add(expr)
        if isinstance(values.get(expr), relax.Tuple | relax.Var):
            waiting.append(values[expr])
    return frozenset(found)


def _returned(main: Any, sequence: _CallSequence) -> list[Any] | None:
    """Return the tensors that `main` gives, None where they are no flat row."""
    from tvm import relax

    body = main.body.body
    fields = list(body.fields) if isinstance(body, relax.Tuple) else sequence.tuples.get(body)
    fields = [body] if fields is None else fields
    return fields if all(isinstance(one.ty, relax.TensorType) for one in fields) else None


def _take(sequence: _CallSequence, binding: Any) -> bool:
    """Add one binding to `sequence`; False where it is none of those that a sequence has."""
    from tvm import relax

    value = getattr(binding, "value", None)
    if isinstance(value, relax.Tuple):
        sequence.tuples[binding.var] = list(value.fields)
        return True
    if isinstance(value, relax.TupleGetItem) and value.tuple_value in sequence.held:
        sequence.held[binding.var] = [sequence.held[value.tuple_value][value.index]]
        return True
    if isinstance(value, relax.Var) and value in sequence.held:
        sequence.held[binding.var] = sequence.held[value]
        return True
    if not isinstance(value, relax.Call) or not _is_known(value) or len(value.args) != 2:
        return False
    name = getattr(value.op, "name", "")
    if name not in ("relax.call_tir", "relax.call_tir_inplace"):
        return False
    kernel, given = value.args
    if kernel in sequence.reshapes and sequence.alias(binding.var, given.fields[0]):
        return True
    operands: list[Any] = [operand for expr in given.fields for operand in sequence.read(expr)]
    kinds = [value.ty] if isinstance(value.ty, relax.TensorType) else list(value.ty.fields)
    if name == "relax.call_tir":
        found = sequence.write(kinds)
        sequence.calls.append((kernel, [*operands, *found]))
    else:
        found = [operands[int(index)] for index in value.attrs.inplace_indices]
        sequence.calls.append((kernel, operands))
    sequence.held[binding.var] = found
    return True


def _is_known(expr: Any) -> bool:
    from tvm import relax, tirx

    kind = expr.ty
    kinds = list(kind.fields) if isinstance(kind, relax.TupleType) else [kind]
    return all(
        isinstance(one, relax.TensorType)
        and isinstance(one.shape, relax.ShapeExpr)
        and all(isinstance(size, tirx.IntImm) for size in one.shape)
        for one in kinds
    )


def _network(
    module: Any,
    sequence: _CallSequence,
    outputs: Sequence[_Tensor],
    apart: Callable[[Any], str] | None,
) -> tuple[Any, Any, int]:
    """Return a module of the kernels, `network`, which calls them, and the arena's size."""
    import tvm
    from tvm import ir, tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script.builder import ir as script

    kernels = tvm.IRModule()
    shared, symbols = {}, {}
    for kernel in dict.fromkeys(kernel for kernel, _ in sequence.calls):
        found = of_share(module[kernel])
        shared[kernel] = found is not None
        function = of_pointers(module[kernel] if found is None else found)
        if apart is None or calls_outside(function):
            kernels[kernel.name_hint] = function
        else:
            symbols[kernel] = apart(function)
    inner = [tensor for tensor in sequence.written if not any(tensor is one for one in outputs)]
    offsets, size = plan([tensor.lifetime for tensor in inner])
    status = ir.PrimType("int32")
    with IRBuilder() as builder, script.prim_func(s_tir=True):
        script.func_name("network")
        script.func_attr({"tirx.is_scheduled": True})
        _declare("x", list(sequence.given.values()))
        arena = _address(_ARENA)
        _declare("y", outputs)
        for tensor, offset in zip(inner, offsets, strict=True):
            tensor.address = script.handle_add_byte_offset(arena, offset)
        # What no later call reads needs no order.
        ordered = [arena, *(t.address for t in outputs if t.last > t.first)]
        places = {id(call): index for index, call in enumerate(sequence.calls)}

        def emit(call: tuple[Any, list[Any]], *share: Any) -> Any:
            kernel, operands = call
            for pointer in ordered if places[id(call)] else ():
                keep_order(pointer)
            given = [o.address if isinstance(o, _Tensor) else o for o in operands]
            if kernel in symbols:
                return tirx.call_extern("int32", symbols[kernel], *given, *share)
            callee = kernels.get_global_var(str(kernel.name_hint))
            return ir.Call(callee, [*given, *share], ret_ty=status)

        for is_shared, calls in itertools.groupby(sequence.calls, lambda call: shared[call[0]]):
            if is_shared:
                _emit_team(list(calls), emit)
                continue
            for call in calls:
                with script.Assert(emit(call) == 0, f"kernel {call[0].name_hint} could not run"):
                    pass
    return kernels, builder.get(), max(1, size)


def _emit_team(calls: Sequence[Any], emit: Callable[..., Any]) -> None:
    """Emit `calls` of kernels that take shares; a failure is told behind the last barrier.

    A thread that fails meets the others all the same, who would wait for it. What it returns TVM
    does not look at where it is the only one.
    """
    from tvm import tirx
    from tvm.tirx.script.builder import ir as script

    good = tirx.const(0, "int32")
    whole = script.alloc_buffer((1,), "int32")
    script.buffer_store(whole, good, [0])
    with team() as share:
        own = script.alloc_buffer((1,), "int32")
        script.buffer_store(own, good, [0])
        for call in calls:
            with barrier():
                script.buffer_store(own, own[0] | emit(call, *share), [0])
        with script.If(own[0] != good), script.Then():
            script.buffer_store(whole, own[0], [0])
    with script.Assert(whole[0] == good, "a kernel could not run"):
        pass


def _declare(name: str, tensors: Sequence[_Tensor]) -> None:
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
