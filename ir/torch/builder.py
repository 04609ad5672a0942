"""The module being made: its fx graph, its tree of modules, and which constant went where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import fx, nn

from ..core.errors import ConversionError
from ..core.variables import dense_values
from . import names
from .source import Binding
from .tensors import to_tensor
from .tracer import Tracer
from .values import Traced

# Submodules and parameters must not hide what every module has.
_RESERVED = frozenset(dir(fx.GraphModule)) | frozenset(nn.Module().__dict__)


class Builder:
    """Grows an fx graph and the modules it calls.

    A constant is realized once: its parameter is shared by all who read it. `bindings` record
    which constant each parameter stands for.
    """

    def __init__(self, *, learn_scales: bool, from_torch: bool) -> None:
        self.graph = fx.Graph(tracer_cls=Tracer)
        self.root = nn.Module()
        self.learn_scales = learn_scales
        self._from_torch = from_torch
        self.bindings: list[Binding] = []
        self.transient: list[str] = []
        self.anchor: fx.Node | None = None
        self.modules: dict[Any, str] = {}
        self.quantized: dict[Any, Traced] = {}
        self._places: dict[int, str] = {}
        self._products: dict[tuple[int, int], fx.Node] = {}
        self._literals: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._kept: list[Any] = []  # ids are keys above, so their objects must live

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of a function."""
        return self.graph.call_function(target, args, kwargs)

    def method(self, name: str, *args: Any) -> fx.Node:
        """Add a call of a tensor's method."""
        return self.graph.call_method(name, args)

    def attribute(self, path: str) -> fx.Node:
        """Add a read of a parameter or buffer."""
        return self.graph.get_attr(path)

    def submodule(self, module: nn.Module, name: str, *args: Any) -> fx.Node:
        """Place a module without parameters of its own under a fresh name, and call it."""
        path = self.free(names.identifier(name, type(module).__name__.lower()))
        self.place(path, module)
        return self.graph.call_module(path, args)

    def place(self, path: str, module: nn.Module) -> None:
        """Put `module` at `path`, which is free; what lies below it stays."""
        owner, leaf = names.split(path)
        parent = self._container(owner)
        present = parent._modules.get(leaf)
        if present is not None:
            module._modules.update(present._modules)
            for name, parameter in present._parameters.items():
                module._parameters.setdefault(name, parameter)
            for name, buffer in present._buffers.items():
                module._buffers.setdefault(name, buffer)
        parent.add_module(leaf, module)

    def is_free(self, path: str, *, container: bool = False) -> bool:
        """Say whether a module or tensor can be put at `path`.

        `container`: a module may, around the modules below it that are there already.
        """
        here: nn.Module = self.root
        *owners, leaf = path.split(".")
        for part in owners:
            if part in _RESERVED or part in here._parameters or part in here._buffers:
                return False
            found = here._modules.get(part)
            if found is None:
                return leaf not in _RESERVED
            here = found
        if leaf in _RESERVED or leaf in here._parameters or leaf in here._buffers:
            return False
        present = here._modules.get(leaf)
        return present is None or (container and type(present) is nn.Module)

    def free(self, path: str) -> str:
        """Return `path`, or with a number behind it where that is taken."""
        found, count = path, 0
        while not self.is_free(found):
            count += 1
            found = f"{path}_{count}"
        return found

    def realized(self, constant: gs.Constant) -> str | None:
        """Return where the parameter of `constant` is, if it has one already."""
        return self._places.get(id(constant))

    def bind(self, constant: gs.Constant, path: str, kind: str = "plain", **details: Any) -> None:
        """Record that the tensor at `path` stands for `constant`."""
        self._kept.append(constant)
        if kind in ("plain", "scale"):
            self._places.setdefault(id(constant), path)
        self.bindings.append(Binding(constant, path, kind, **details))

    def parameter(self, constant: gs.Constant) -> nn.Parameter:
        """Return the parameter that `constant` is already, or a new one that has no place yet."""
        found = self.realized(constant)
        if found is None:
            return nn.Parameter(self.tensor_of(constant))
        owner, leaf = names.split(found)
        return getattr(self.root.get_submodule(owner), leaf)

    def realize(self, constant: gs.Constant, *, trains: bool = True) -> str:
        """Return the path of the parameter (float that `trains`) or buffer it becomes."""
        found = self.realized(constant)
        if found is not None:
            return found
        tensor = self.tensor_of(constant)
        named = names.is_path(constant.name)
        path = constant.name if named else names.identifier(constant.name, "weight")
        path = self.free(path)
        if tensor.is_floating_point() and trains:
            self.set_parameter(path, tensor)
        else:
            owner, leaf = names.split(path)
            self._container(owner).register_buffer(leaf, tensor)
            if not named and not tensor.is_floating_point():
                self.transient.append(path)
        self.bind(constant, path)
        return path

    def product(self, weight: gs.Constant, mask: gs.Constant) -> fx.Node:
        """Return `weight`, a parameter, times `mask`, a buffer."""
        key = (id(weight), id(mask))
        if key not in self._products:
            factors = (self.realize(weight), self.realize(mask, trains=False))
            self._products[key] = self.function(torch.mul, *map(self.attribute, factors))
        return self._products[key]

    def set_parameter(self, path: str, tensor: torch.Tensor) -> None:
        """Put a parameter at `path`."""
        owner, leaf = names.split(path)
        self._container(owner).register_parameter(leaf, nn.Parameter(tensor))

    def literal(self, array: np.ndarray[Any, Any]) -> fx.Node:
        """Add a read of a buffer that holds `array` and is no part of the state."""
        array = np.asarray(array)
        key = (str(array.dtype), array.shape, array.tobytes())
        path = self._literals.get(key)
        if path is None:
            tensor = to_tensor(array)
            if tensor is None:
                raise ConversionError(
                    f"a constant of type {array.dtype} has no form in PyTorch; fold what reads it "
                    "first: planish optimize -p fold-constants"
                )
            path = self._literals[key] = self.free("constant")
            self.root.register_buffer(path, tensor)
            self.transient.append(path)
        return self.attribute(path)

    def tensor_of(self, constant: gs.Constant) -> torch.Tensor:
        """Return a copy of the values of `constant`."""
        values = dense_values(constant)
        tensor = None if values is None else to_tensor(values)
        if tensor is None:
            raise ConversionError(
                f"weight '{constant.name}' is sparse or of a type that PyTorch lacks "
                f"({constant.dtype}); store it dense as float32 first"
            )
        return tensor

    def is_parameter(self, name: str) -> bool:
        """Say whether the name of a single number makes it a parameter of the source model.

        PyTorch's exporter keeps the names of parameters; elsewhere a lone number without a place
        in a submodule is a constant of some formula, which training must not move.
        """
        return names.is_path(name) if self._from_torch else names.is_nested_path(name)

    def _container(self, path: str) -> nn.Module:
        here = self.root
        for part in path.split(".") if path else ():
            if part not in here._modules:
                here.add_module(part, nn.Module())
            here = here._modules[part]
        return here
