"""planish's program of a graph as a Relax module, for others to go on with."""

from __future__ import annotations

from typing import Any

from ...backends.contract.prepare import prepare
from ...backends.tvm.kernels.settings import Settings
from ...backends.tvm.program.emit_graph import BlockedEmitter
from ...backends.tvm.program.lowering import lower_graph
from ...ir.files.given import Model, as_graph
from .dispatch import LEFT
from .machine import machine_for, target, threads_for


def to_relax(graph: Model, *, on: Any = None, winograd: bool = True, optimize: bool = True) -> Any:
    """Return `graph`, or the model in a file, as a Relax module whose `main` takes its inputs.

    `main` gives a tuple of its outputs. It calls planish's kernels, which are scheduled, and TVM's
    own operators, which are not: passes may follow, then the pipeline "planish". `on`: a target of
    TVM's, by default this machine's. `winograd` and `optimize` as in the backend `tvm`. An operator
    that neither has is a call of ONNX Runtime, which runs where planish is imported. Raises
    BackendError.
    """
    import tvm
    from tvm import relax

    on = target() if on is None else on
    settings = Settings(winograd=winograd, threads=threads_for(on))
    prepared = prepare(as_graph(graph), optimize=optimize)
    lowered = lower_graph(BlockedEmitter(prepared, machine_for(on), settings))
    main = lowered.module["main"]
    count = int(main.attrs["num_input"])
    given = dict(zip(main.params[count:], map(tvm.runtime.tensor, lowered.constants), strict=True))
    module = relax.transform.BindParams("main", given)(lowered.module)
    return module.with_attr(LEFT, "[]")
