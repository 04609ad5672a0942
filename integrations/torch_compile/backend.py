"""The function that Dynamo calls with each graph that it has captured.

It is found through the entry point `planish` of the group `torch_dynamo_backends`. The graph is the
one that Dynamo makes, before AOTAutograd takes BatchNormalization apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .network import Network
from .options import CompileOptions


def compile_graph(
    module: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Any:
    """Return what is called in place of `module`; `options` as in `CompileOptions`.

    What planish cannot run as PyTorch does runs on PyTorch, and an `EagerWarning` says why: where
    gradients are asked for, inputs or weights are written to, outputs share memory, or an operator
    cannot be traced. Raises PipelineError and BackendError for options that are
    wrong; those of the runtime's backend are looked at in the first call.
    """
    return Network(module, CompileOptions.of(options, mode))
