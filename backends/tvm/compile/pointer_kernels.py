"""Kernels as private functions of pointers, and the passes that such functions need in TVM."""

from __future__ import annotations

from typing import Any

from ..spec.open_sizes import sizes_of, told_last

_CPU = 1  # DLPack's number
MARK = "planish.pointers"  # a kernel that only `network` calls
EXPORTED = "planish.exported"  # such a function that code of LLVM's finds by its name


def of_pointers(kernel: Any) -> Any:
    """Return a private function of pointers that does what `kernel` does, and returns 0.

    Sizes that only who calls it knows are its last parameters.
    """
    from tvm import ir, tirx

    pointers, declared = [], []
    for parameter in kernel.params:
        if not isinstance(parameter.ty, tirx.BufferType):
            pointers.append(parameter)
            continue
        element = ir.PrimType(str(parameter.ty.dtype))
        pointers.append(tirx.Var(f"{parameter.name}_data", ir.PointerType(element, "global")))
        declared.append(tirx.DeclBuffer(parameter, data=pointers[-1]))
    # It returns 0 at its end without being told. After a return statement, what the kernel
    # allocates would never be freed.
    body = tirx.SeqStmt([*declared, kernel.body])
    sizes = sizes_of(kernel)
    told = [sizes[place] for place in told_last(kernel)]
    found = tirx.PrimFunc([*pointers, *told], body, ir.PrimType("int32"), kernel.attrs)
    return found.with_attr(MARK, True)


def register_pipeline(*, apart: bool = False) -> str:
    """Give TVM the passes that kernels of pointers need, and return the name it knows them by.

    `apart`: kernels are compiled on their own, for the linker to find them.
    """
    import tvm
    from tvm.tirx import compilation_pipeline as known

    def pipeline() -> tuple[Any, Any, Any]:
        usual, *finish = known.get_tir_pipeline("s_tir")
        last = _found if apart else _exported
        made = [tvm.transform.module_pass(f, opt_level=0) for f in (_hidden, _on_cpu, last)]
        before, *after = made
        return (tvm.transform.Sequential([before, usual, *after]), *finish)

    name = "planish-apart" if apart else "planish"
    known.PIPELINE_MAP[name] = pipeline
    return name


def _hidden(module: Any, _: Any) -> Any:
    """Make the kernels of `network` private again: Relax's build gave every function a name."""
    for name, function in _marked(module):
        module[name] = function.without_attr("global_symbol")
    return module


def _on_cpu(module: Any, _: Any) -> Any:
    """Say where the kernels of `network` allocate; TVM says it for public functions alone."""
    from tvm import tirx

    for name, function in _marked(module):
        body = function.body
        for key, value in (("device_id", 0), ("device_type", _CPU)):
            body = tirx.AttrStmt("default", key, tirx.const(value, "int32"), body)
        module[name] = function.with_body(body)
    return module


def _found(module: Any, _: Any) -> Any:
    """Let the linker find the kernels; TVM would make a function of its own convention of them."""
    return _named(module, MARK)


def _exported(module: Any, _: Any) -> Any:
    """Let code that is imported find what it calls."""
    return _named(module, EXPORTED)


def _named(module: Any, mark: str) -> Any:
    for name, function in _marked(module, mark):
        module[name] = function.with_attr("global_symbol", str(name.name_hint))
    return module


def _marked(module: Any, mark: str = MARK) -> list[tuple[Any, Any]]:
    return [(name, f) for name, f in module.functions_items() if f.attrs and mark in f.attrs]
