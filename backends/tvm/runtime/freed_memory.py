"""Memory that a run has freed, which TVM's virtual machine keeps for who asks for as much again.

Where feeds tell sizes, each number of images asks for another amount, and all of them were kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..spec.layout import Array

_MOST = 4  # sizes of feeds whose memory is kept


class FreedMemory:
    """What is kept for a network, by the sizes of what it was fed."""

    def __init__(self) -> None:
        self._sizes: set[tuple[tuple[int, ...], ...]] = set()

    def before(self, feeds: Iterable[Array]) -> None:
        """Give memory back to the system before a run that is fed one more set of sizes."""
        sizes = tuple(values.shape for values in feeds)
        if sizes in self._sizes:
            return
        if len(self._sizes) == _MOST:
            import tvm_ffi

            tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()
            self._sizes.clear()
        self._sizes.add(sizes)
