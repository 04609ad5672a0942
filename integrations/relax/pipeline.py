"""Passes and pipelines of Relax that planish adds: `relax.get_pipeline("planish")`.

DispatchToPlanish      operators -> calls of planish's kernels
"planish"              that, TVM's operators fused and scheduled, one call of all, TVM's build
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from ...backends.tvm.compile.build import scheduled
from ...backends.tvm.compile.pointer_kernels import register_pipeline
from ...backends.tvm.compile.shape_order import order_sizes
from ...backends.tvm.compile.single_call import merge_calls
from ...ir.core.errors import BackendError
from .dispatch import LEFT, DispatchOptions, dispatch
from .machine import machine_for, target, threads_for


@tvm.transform.module_pass(opt_level=0, name="DispatchToPlanish")
class DispatchToPlanish:
    """Put planish's kernels in the place of operators that have one, for the target in scope.

    `winograd` and `check_kernels` as in the backend `tvm`. What is not dispatched stays TVM's:
    `left_to_tvm(module)` lists it. Raises BackendError where no target is in scope, or it is none
    that planish has kernels for.
    """

    def __init__(self, *, winograd: bool = True, check_kernels: bool = True) -> None:
        self._options = {"winograd": winograd, "check_kernels": check_kernels}

    def transform_module(self, module: Any, _: Any) -> Any:
        """Return `module` so; TVM calls this."""
        found = _target()
        options = DispatchOptions(
            machine=machine_for(found), threads=threads_for(found), **self._options
        )
        return dispatch(module, options)


def _target() -> Any:
    found = tvm.target.Target.current(allow_none=True)
    if found is None:
        raise BackendError(
            "planish's kernels are made for one CPU, and no target is in scope; give "
            "tvm.compile planish.integrations.relax.target(), or enter it with `with`"
        )
    return found


def planish_pipeline(
    *, winograd: bool = True, check_kernels: bool = True, single_call: bool = False
) -> Any:
    """Return the passes from any Relax module to what TVM's virtual machine takes.

    `single_call`: all kernels become one function where sizes are known; its parts need planish's
    pipeline for TIR as well, as `build` gives it.
    """

    dispatcher: Any = DispatchToPlanish(winograd=winograd, check_kernels=check_kernels)

    def pipeline(module: Any, _: Any) -> Any:
        found = _target()
        machine, threads = machine_for(found), threads_for(found)
        if module.attrs is None or LEFT not in module.attrs:
            module = dispatcher(module)
        kept = module.attrs
        module = scheduled(module, machine, threads)
        functions = [f for _, f in module.functions_items() if isinstance(f, relax.Function)]
        if (
            single_call
            and len(functions) == 1
            and "main" in {n.name_hint for n in module.get_global_vars()}
        ):
            module = merge_calls(module, machine, threads, lent=False)
        module = tvm.IRModule(dict(module.functions_items()), attrs=kept)
        return order_sizes(relax.get_pipeline("default_build")(module))

    return tvm.transform.module_pass(pipeline, opt_level=0, name="planish")


def build(module: Any, on: Any = None, *, winograd: bool = True, check_kernels: bool = True) -> Any:
    """Return the Relax `module` compiled, as one call where sizes are known.

    `on`: a target of TVM's, by default this machine's; `winograd` and `check_kernels` as in
    `DispatchToPlanish`. The result is TVM's own, for `relax.VirtualMachine`; it needs no planish.
    """
    whole = planish_pipeline(winograd=winograd, check_kernels=check_kernels, single_call=True)
    return tvm.compile(
        module,
        target=target() if on is None else on,
        relax_pipeline=whole,
        tir_pipeline=register_pipeline(),
    )


def register() -> None:
    """Give TVM the pipeline's name, once, and have it hand errors on as they are."""
    tvm_ffi.register_error(BackendError.__name__, BackendError)
    if "planish" not in relax.pipeline.PIPELINE_MAP:
        relax.register_pipeline("planish")(planish_pipeline)
