"""Which functions of the domain `planish` are the ones that their names say.

Passes know fused operators by name. A file may hold others of such a name: one made by hand, or by
another version. Those are told apart by what they mean, and called otherwise.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...core.variables import FUSED_DOMAIN
from ...graph.functions import fused_functions, rename_function
from ...graph.meaning import same_meaning
from .bodies import ACTIVATIONS, activation_function, layer_normalization_function
from .operators import fused_function, read_fused
from .squeeze_excite import is_squeeze_excite


def own_function(name: str, opset: int) -> gs.Function | None:
    """Return the function that passes take `name` for in models of `opset`; None for no such."""
    if name in ACTIVATIONS:
        return activation_function(name, opset)
    if name == "LayerNormalization":
        return layer_normalization_function(opset)
    fused = read_fused(name, opset)
    return None if fused is None else fused_function(fused, opset)


def is_own(function: gs.Function) -> bool:
    """Say whether `function` is a fused operator or a recognized one, by domain and name.

    `separate_foreign` sees to it that the name can be relied on.
    """
    if function.domain != FUSED_DOMAIN:
        return False
    name = str(function.name)
    return is_squeeze_excite(function) or own_function(name, int(function.opset)) is not None


def separate_foreign(graph: gs.Graph) -> None:
    """Give each function of `graph` that is not what its name says another name."""
    for function in fused_functions(graph):
        own = own_function(str(function.name), graph.opset)
        if own is not None and not same_meaning(function, own):
            rename_function(graph, function)
