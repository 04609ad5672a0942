"""Graph -> trainable PyTorch module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import ConversionError
from ..files.given import Model, as_graph
from ..graph.clone import clone
from ..run.contradiction import contradiction_told

if TYPE_CHECKING:
    import torch


def to_fx(graph: Model, *, learn_scales: bool = False) -> torch.fx.GraphModule:
    """Return `graph` as a trainable `torch.fx.GraphModule`, in evaluation mode.

    Float initializers become parameters under their own names (`layer1.0.conv1.weight`), so that a
    `state_dict` of the module that was traced loads; convolutions, normalizations, linear layers,
    activations and poolings become modules of `torch.nn` wherever one says exactly what the node
    does. What is shared stays shared, what is dynamic stays dynamic. The graph is left untouched;
    `from_fx` writes what was trained back into a copy of it, and `trace` makes a new one.

    A quantized graph (QuantizeLinear, DequantizeLinear) gets a fake-quantizer for each pair, and
    weights that are stored as integers become float parameters behind one: quantization-aware
    training. `learn_scales` makes the scales parameters too.

    Raises ConversionError naming a node that has no counterpart, and GraphError where the graph
    contradicts itself.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ConversionError(
            "a graph becomes a module with PyTorch; install it with: pip install planish[torch]"
        ) from error
    from .convert import convert

    graph = as_graph(graph)
    with contradiction_told(graph):
        return convert(clone(graph), learn_scales=learn_scales)
