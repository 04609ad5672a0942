"""Shapes that a file declares for its outputs, and that do not follow from its inputs.

They are left from an export, or from a hand that changed the inputs. Runtimes warn of them at every
run, and what plans memory by them is wrong.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...engine.analyses import Analyses


def correct_outputs(known: Analyses) -> tuple[str, ...]:
    """Give the outputs of a graph the sizes that follow from its inputs; say which were others."""
    names = {size for t in known.graph.inputs for size in t.shape or () if isinstance(size, str)}
    told = []
    for tensor in known.graph.outputs:
        sizes = _sizes(tensor, known, names) if isinstance(tensor, gs.Variable) else None
        if sizes is not None and sizes != list(tensor.shape):
            told.append(
                f"output '{tensor.name}' was declared {_shown(tensor.shape)}, and from the inputs "
                f"follows {_shown(sizes)}, which is written"
            )
            tensor.shape = sizes
    return tuple(told)


def _sizes(tensor: gs.Variable, known: Analyses, names: set[str]) -> list[int | str | None] | None:
    """Return the declared sizes with those that are known to be others; None where nothing is."""
    found = known.types.agreed(tensor)
    if tensor.shape is None or found is None or found.shape is None:
        return None
    if len(found.shape) != len(tensor.shape):
        return list(found.shape)
    pairs = zip(tensor.shape, found.shape, strict=True)
    return [
        now if isinstance(was, int) and (isinstance(now, int) or now in names) else was
        for was, now in pairs
    ]


def _shown(shape: list[int | str | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
