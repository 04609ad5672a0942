"""Module made by `to_fx` -> its graph, with what was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.errors import ConversionError
from ..core.variables import dense_values
from ..graph.clone import Copier, clone_function
from .source import Binding, source_of

if TYPE_CHECKING:
    import torch


def from_fx(module: torch.fx.GraphModule) -> gs.Graph:
    """Return the graph that `to_fx` made `module` of, with the module's present values.

    Nothing is traced: nodes and tensors keep their names, and only constants that became
    parameters, statistics of normalizations or quantization scales have new values. Weights that
    the graph stores as integers are rounded onto their scales, biases onto the product of the
    scales of input and weight. Neither the module nor the graph given to `to_fx` is touched.

    Raises ConversionError where `to_fx` did not make the module, or a parameter is gone or has
    another shape.
    """
    source = source_of(module)
    copier = Copier()
    graph = copier.graph(source.graph)
    graph.functions = [clone_function(function) for function in source.graph.functions]
    written: dict[int, np.ndarray[Any, Any]] = {}
    for binding in source.bindings:
        values = _values(module, binding)
        constant = copier.tensor(binding.constant)
        before = written.setdefault(id(constant), values)
        if before is not values and not np.array_equal(before, values):
            raise ConversionError(
                f"constant '{constant.name}' is shared in the graph, but its readers were trained "
                "to different values; give each its own constant before planish.to_fx"
            )
        values.flags.writeable = False
        assert isinstance(constant, gs.Constant)
        constant._values = values
    return graph


def _values(module: torch.fx.GraphModule, binding: Binding) -> np.ndarray[Any, Any]:
    from .fake_quantize import bias_scale
    from .tensors import to_array

    before = dense_values(binding.constant)
    assert before is not None
    if binding.kind in ("bias", "bias-scale"):
        scale = bias_scale(
            _tensor(module, f"{binding.quantizer}.scale", binding),
            _tensor(module, f"{binding.other}.scale", binding),
        )
        if binding.kind == "bias-scale":
            return _shaped(to_array(scale, before.dtype), before, binding)
        bias = _tensor(module, binding.path, binding)
        whole = to_array((bias / scale).round(), np.float64)
        limits = np.iinfo(np.int32)
        whole = np.clip(whole, limits.min, limits.max)
        return _shaped(whole.astype(before.dtype), before, binding)
    tensor = _tensor(module, binding.path, binding)
    if binding.kind == "integers":
        whole = module.get_submodule(binding.quantizer).integers(tensor)
        return _shaped(to_array(whole, before.dtype), before, binding)
    if binding.kind == "scale":
        owner = module.get_submodule(binding.path.rpartition(".")[0])
        return _shaped(to_array(owner.step(), before.dtype), before, binding)
    return _shaped(
        to_array(tensor.T if binding.kind == "transposed" else tensor, before.dtype),
        before,
        binding,
    )


def _tensor(module: torch.fx.GraphModule, path: str, binding: Binding) -> torch.Tensor:
    import torch

    owner, _, leaf = path.rpartition(".")
    try:
        found = getattr(module.get_submodule(owner), leaf)
    except AttributeError:
        found = None
    if not isinstance(found, torch.Tensor):
        raise ConversionError(
            f"the module has no parameter '{path}' any more, which holds constant "
            f"'{binding.constant.name}'; trace the module instead: planish.trace"
        )
    return found.detach()


def _shaped(
    found: np.ndarray[Any, Any], before: np.ndarray[Any, Any], binding: Binding
) -> np.ndarray[Any, Any]:
    same = found.shape == before.shape
    if not same and not (found.size == before.size == 1):
        raise ConversionError(
            f"parameter '{binding.path}' has shape {found.shape}, but constant "
            f"'{binding.constant.name}' of the graph {before.shape}; trace the module instead: "
            "planish.trace"
        )
    return found.reshape(before.shape).copy()
