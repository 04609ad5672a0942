"""Whose an exception is that ends the emission of a node: TVM's, which is usual, or planish's own.

TVM refuses what it has no code for by any exception; another way is then taken. The same exception
out of planish's own code is a mistake there, and hiding it would hide that every such network is
slow from then on.
"""

from __future__ import annotations

from types import TracebackType

from ....ir.core.errors import BackendError, PlanishError

_OWN = __name__.partition(".")[0]
_TVM = ("tvm", "tvm_ffi")


class OwnFaultError(BackendError):
    """Planish's own code failed where some nodes are emitted, with the `error` that it raised.

    `results`: the names of the first results of these nodes; `node`: what they are called.
    """

    def __init__(self, error: BaseException, node: str, results: frozenset[str]) -> None:
        super().__init__(f"backend 'tvm' cannot run {node}: {said(error)}")
        self.error = error
        self.node = node
        self.results = results


def is_own(error: BaseException) -> bool:
    """Say whether `error` was raised in planish's own code, and is none of its sentences.

    The last frame of planish's or TVM's decides: what others raise is for who called them. TVM's
    frames of C++ belong to no module.
    """
    if isinstance(error, PlanishError | MemoryError):
        return False
    owner = _OWN
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__") or _TVM[0]).partition(".")[0]
        if module in (_OWN, *_TVM):
            owner = module
        trace = trace.tb_next
    return owner == _OWN


def said(error: BaseException) -> str:
    """Return an error in one line, with its type."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
