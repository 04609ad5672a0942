"""Kernels as functions of arrays, each ready to be called once."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ....ir.core.cpu import core_numbers
from ..compile.cpu import CpuToolchain
from ..compile.parts import KernelObject
from ..compile.pointer_kernels import of_pointers
from ..compile.team import KernelStages, stages_of
from ..runtime.linker import has_linker, linked, symbols
from ..spec.layout import Array

_LINKED, _COMPILED = 8, 4  # kernels of a library, and of a module


class _Callable(Protocol):
    def __call__(self, args: Sequence[Any], result: Array) -> Array: ...


KernelCode = _Callable | Exception


def code_of(functions: Sequence[Any], toolchain: CpuToolchain) -> Iterator[KernelCode]:
    """Yield a function of arrays for each loop nest, an Exception where TVM fails with it.

    It returns the buffer of the result, written. What `toolchain` links into a network is the same
    object here, made once; its parallel loops run in two ranges, as on a team of two.
    """
    if has_linker(toolchain.architecture) and all(map(_is_known, functions)):
        yield from _linked(functions, toolchain)
        return
    parts = [functions[at : at + _COMPILED] for at in range(0, len(functions), _COMPILED)]
    with ThreadPoolExecutor(len(core_numbers())) as pool:
        for part in pool.map(lambda part: _compiled(part, toolchain), parts):
            yield from part


def _is_known(function: Any) -> bool:
    """Say whether all sizes of the operands of `function` are numbers."""
    from tvm import tirx

    return all(
        isinstance(size, int | tirx.IntImm)
        for parameter in function.params
        if isinstance(parameter.ty, tirx.BufferType)
        for size in parameter.ty.shape
    )


def _linked(functions: Sequence[Any], toolchain: CpuToolchain) -> Iterator[KernelCode]:
    known = [stages_of(function) for function in functions]
    begun = [
        [toolchain.compiler.begin(of_pointers(body)) for body in _bodies(function, stages)]
        for function, stages in zip(functions, known, strict=True)
    ]
    for at in range(0, len(begun), _LINKED):
        part = slice(at, at + _LINKED)
        made = {each.symbol: _made(each) for each in itertools.chain.from_iterable(begun[part])}
        objects = [each for each in made.values() if isinstance(each, bytes)]
        with contextlib.ExitStack() as loaded:
            library: Any = None
            if objects:
                library = loaded.enter_context(symbols(linked(toolchain.architecture, objects)))
            for several, stages in zip(begun[part], known[part], strict=True):
                failed = [made[each.symbol] for each in several]
                error = next((each for each in failed if isinstance(each, Exception)), None)
                code = [library[each.symbol] for each in several] if error is None else []
                yield error or functools.partial(_called, code, stages)


def _bodies(function: Any, stages: KernelStages | None) -> list[Any]:
    """Return the functions that `function` is linked as."""
    return [function] if stages is None else [stage.function for stage in stages.stages]


def _made(part: KernelObject) -> bytes | Exception:
    try:
        return part.code
    except Exception as error:  # TVM fails in any way
        return error


def _called(
    code: Sequence[Any], stages: KernelStages | None, args: Sequence[Any], result: Array
) -> Array:
    """Return `result`, written by functions of pointers, one after the other."""
    import tvm

    def given(value: Any) -> Any:
        return (
            ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_void_p(value.data_ptr())
        )

    held = _lent([*args, result])
    scratch = [
        tvm.runtime.empty([int(size) for size in one.shape], str(one.dtype))
        for one in (stages.scratch if stages else ())
    ]
    pointers = list(map(given, [*held, *scratch]))
    whole: list[list[tuple[int, ...]]] = [[()]]
    ranges = [_halves(stage.parts) for stage in stages.stages] if stages else whole
    for function, several in zip(code, ranges, strict=True):
        for parts in several:
            if function(*pointers, *map(ctypes.c_int32, parts)):
                raise RuntimeError("it returned an error")
    found: Array = held[-1].numpy()
    return found


def _halves(parts: int) -> list[tuple[int, ...]]:
    """Return two ranges of `parts`, the first of them the smaller."""
    cut = parts * 3 // 10
    return [(0, cut), (cut, parts)] if cut else [(0, parts)]


def _compiled(functions: Sequence[Any], toolchain: CpuToolchain) -> list[KernelCode]:
    """Return each of `functions` compiled, an Exception where TVM fails with it."""
    try:
        return _together(functions, toolchain)
    except Exception as error:  # TVM fails in any way
        if len(functions) == 1:
            return [error]
    return [found for function in functions for found in _compiled([function], toolchain)]


def _together(functions: Sequence[Any], toolchain: CpuToolchain) -> list[KernelCode]:
    import tvm

    named: Mapping[str, Any] = {f"kernel_{i}": function for i, function in enumerate(functions)}
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in named.items()}
    )
    target = tvm.target.Target(toolchain.machine.llvm(toolchain.threads))
    library = tvm.compile(module, target=target).mod
    return [functools.partial(_packed, library[name]) for name in named]


def _packed(function: Any, args: Sequence[Any], result: Array) -> Array:
    """Return `result`, written by a `function` of TVM's own convention."""
    held = _lent([*args, result])
    function(*held)
    found: Array = held[-1].numpy()
    return found


def _lent(args: Sequence[Any]) -> list[Any]:
    """Return arrays as tensors, which are aligned as kernels want them; numbers as they are."""
    import tvm

    return [tvm.runtime.tensor(one) if isinstance(one, np.ndarray) else one for one in args]
