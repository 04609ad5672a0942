"""Every kernel of a network, once, on its own: beside what its description means.

    |kernel(x, w, ...) - ONNX operator(x, w, ...)| <= what rounding does        on random operands

What runs is the object that the network links, for its own sizes and borders; where kernels are no
objects of their own, the loop nest is compiled alone, three images where their number is free.
Operands are random; what must not be read is NaN, what must not be written is looked at. A kernel
that was found right is not run again (`known`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..compile.cpu import CpuToolchain
from ..program.lowering import Lowered
from ..runtime.threads import run_on
from ..spec.calls import KernelCall, SizedKernel, SizedKernels
from ..tuning.cache import Cache, Key, default_path
from .code import KernelCode, code_of
from .known import BLIND, RIGHT, found_before, keep, key_of_check
from .meanings import has_meaning
from .nodes import NodeReport, WrongNode
from .trial import Trial, draw_trial

_SEED = 0


@dataclass(frozen=True, kw_only=True)
class CheckedKernel:
    """A kernel of a network: what it is called and computes, its loop nest, and its key."""

    name: str
    op: Any
    function: Any
    key: Key


@dataclass(frozen=True)
class WrongKernel:
    """A kernel that is `fault`, and the `trial` that showed it, None where it did not run."""

    kernel: CheckedKernel
    fault: str
    trial: Trial | None = None


@dataclass(frozen=True)
class KernelReport:
    """What was found: `right` kernels, and the wrong ones.

    `blind`: those of the right ones whose results are one number whatever they are given.
    `others`: what was not compared, since its description has no meaning here, or its inputs.
    """

    right: int
    blind: int = 0
    others: int = 0
    wrong: Sequence[WrongKernel | WrongNode] = ()

    def and_nodes(self, found: NodeReport) -> KernelReport:
        """Return this, and what was found of nodes that are compared as they are."""
        return replace(
            self,
            right=self.right + found.right,
            others=self.others + found.others,
            wrong=[*self.wrong, *found.wrong],
        )


def check_kernels(lowered: Lowered, toolchain: CpuToolchain, *, sized: bool = True) -> KernelReport:
    """Compare every kernel of `lowered` that is not known to be right yet.

    `sized`: in the forms that they are called in for one image after the other, where there are.
    """
    cache = cache_of_checks()
    kernels = _kernels(lowered, toolchain, lowered.sized if sized else {})
    known = [found_before(cache, kernel.key) for kernel in kernels]
    new = [kernel for kernel, found in zip(kernels, known, strict=True) if not found]
    blind = known.count(BLIND)
    wrong = []
    for kernel, function in zip(new, code_of([k.function for k in new], toolchain), strict=True):
        begin = time.perf_counter()
        found = _tried(kernel, function, toolchain.threads)
        if isinstance(found, WrongKernel):
            wrong.append(found)
            continue
        keep(cache, kernel.key, found, time.perf_counter() - begin)
        blind += found == BLIND
    others = sum(not has_meaning(op) for op in lowered.kernels)
    return KernelReport(len(kernels) - len(wrong), blind, others, wrong)


def calls_of(lowered: Lowered, wrong: WrongKernel) -> list[KernelCall]:
    """Return the calls of a kernel that was found wrong."""
    return [call for call in lowered.calls if call.kernel == wrong.kernel.name]


def _kernels(lowered: Lowered, toolchain: CpuToolchain, sized: SizedKernels) -> list[CheckedKernel]:
    functions = {str(name.name_hint): found for name, found in lowered.module.functions_items()}
    forms: dict[str, list[SizedKernel | None]] = {}
    for (name, _), form in sized.items():
        forms.setdefault(name, []).append(form)
    return [
        CheckedKernel(
            name=name,
            op=form.op,
            function=form.function,
            key=key_of_check(form.op, form.function, toolchain.machine),
        )
        for op, name in lowered.kernels.items()
        if has_meaning(op)
        for one in forms.get(name, [None])
        for form in [one or SizedKernel(op, functions[name])]
    ]


def _tried(kernel: CheckedKernel, function: KernelCode, threads: int) -> WrongKernel | str:
    """Return what is wrong with a kernel, else RIGHT or BLIND."""
    if isinstance(function, Exception):
        return WrongKernel(kernel, f"TVM does not compile it alone: {_line(function)}")
    trial = draw_trial(kernel.op, _SEED)
    try:
        result = run_on(threads, lambda: function(trial.args, trial.result()))
        fault = trial.fault(result)
    except Exception as error:  # TVM's own
        fault = f"it cannot be run: {_line(error)}"
    if fault:
        return WrongKernel(kernel, fault, trial)
    return RIGHT if trial.told else BLIND


def cache_of_checks() -> Cache:
    """Return where it is kept what was found right."""
    return _cache(default_path())


@functools.cache
def _cache(measurements: Path) -> Cache:
    return Cache(f"{measurements}.checks", quiet=True)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
