"""One process or many: what `accelerate launch` or torchrun started, through accelerate.

Every process runs the whole pipeline on all feeds; of a minibatch each trains on its share, and the
gradients are averaged. Decisions and weights are those of the first process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from .....ir.core.errors import RefusedError


class Workers:
    """The processes that train together; `rank` is this one of `count`."""

    def __init__(self) -> None:
        import torch

        self._accelerator: Any = None
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        try:
            from accelerate import Accelerator
        except ImportError as error:
            if launched > 1:
                raise RefusedError(
                    f"{launched} processes were launched, and training together needs accelerate; "
                    "install it with: pip install planish[train]"
                ) from error
            self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            return
        self._accelerator = Accelerator(mixed_precision="no")
        self.device = self._accelerator.device

    @property
    def rank(self) -> int:
        """Number of this process."""
        return 0 if self._accelerator is None else int(self._accelerator.process_index)

    @property
    def count(self) -> int:
        """Number of processes."""
        return 1 if self._accelerator is None else int(self._accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Say whether this process writes files."""
        return self.rank == 0

    @contextlib.contextmanager
    def prepared(self, module: Any) -> Iterator[Any]:
        """Give `module` as it is to be called, so that backward passes average gradients."""
        module.to(self.device)
        if self.count == 1:
            yield module
            return
        yield self._accelerator.prepare_model(module)
        self._accelerator.free_memory()

    def mean(self, value: Any) -> Any:
        """Return the mean over the processes of a tensor."""
        return value if self.count == 1 else self._accelerator.reduce(value, reduction="mean")

    def agreed(self, value: Any) -> Any:
        """Return what the first process has for `value`: any object of Python."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        held = [value]
        broadcast_object_list(held, from_process=0)
        return held[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()
