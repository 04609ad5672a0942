"""The threads that TVM runs on."""

from __future__ import annotations

import threading

from ....ir.core.cpu import core_numbers

_told = threading.local()


def use_threads(count: int) -> None:
    """Let TVM run on `count` threads of those cores that this process may use.

    TVM keeps one pool for each calling thread and fixes its size at its first use, at half of the
    cores unless a list of cores is given; no larger number is heard later. What a thread was told
    last is kept here, since telling takes as long as a small layer.
    """
    import tvm

    if getattr(_told, "threads", None) == count:
        return
    share_all_cores = -3
    cores = [str(core) for core in core_numbers()]
    tvm.get_global_func("runtime.config_threadpool")(share_all_cores, count, cores)
    _told.threads = count
