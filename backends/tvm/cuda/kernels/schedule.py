"""Which schedule each kernel gets: ours for products and windows, dlight's for the rest.

The order goes from the special to the general: a rule refuses what it does not know, and dlight's
own expect that what is a product of a matrix and a vector has been taken before matrices, which
would pad the vector to a tile. `Fallback`, the last, gives one thread to each element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .....ir.core.errors import BackendError
from ..spec.gpu import Gpu
from .tensor_cores import schedule_product
from .windows import schedule_window

Rule = Callable[[Any], Any]


def schedule_all(module: Any, gpu: Gpu) -> Any:
    """Return `module` with every function bound to blocks and threads; raises BackendError."""
    from tvm import tirx

    rules = _rules(gpu)
    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            scheduled = _first(rules, function, str(variable.name_hint))
            module[variable] = scheduled.with_attr("tirx.is_scheduled", True)
    return module


def _rules(gpu: Gpu) -> list[Rule]:
    import tvm
    from tvm.s_tir import dlight

    # dlight's rules for tensor cores ask `Schedule.tensorize`, which ends the process in TVM 0.27:
    # they see a GPU that has none.
    plain = tvm.target.Target({**gpu.describe(), "arch": "sm_60"})
    given = [
        dlight.gpu.GEMV(),
        dlight.gpu.Matmul(),
        dlight.gpu.Reduction(),
        dlight.gpu.GeneralReduction(),
        dlight.gpu.Transpose(),
        dlight.gpu.Fallback(),
    ]

    def rule(one: Any) -> Rule:
        def run(function: Any) -> Any:
            with plain:
                found = one.apply(function, plain, False)
            return None if found is None else found.mod["main"]

        return run

    return [schedule_product, schedule_window, *map(rule, given)]


def _first(rules: list[Rule], function: Any, name: str) -> Any:
    """Return `function` as the first rule that knows it schedules it."""
    reason = "no rule knows it"
    for rule in rules:
        try:
            found = rule(function)
        except Exception as error:  # a rule that meets what it does not expect fails in any way
            reason = " ".join(str(error).split())[-200:]
            continue
        if found is not None:
            return found
    raise BackendError(f"backend 'tvm' has no schedule for kernel '{name}' on CUDA: {reason}")
