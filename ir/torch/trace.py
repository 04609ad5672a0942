"""PyTorch -> graph, through torch.export and PyTorch's own ONNX exporter."""

from __future__ import annotations

import contextlib
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs

from ..core.errors import TraceError
from ..files.load import load
from ..proto.metadata import node_metadata, set_node_metadata
from .attention import attention_of_any_rank
from .interpolation.translations import interpolations
from .sizes.decided import decisions, decisions_of, refuse_decided
from .sizes.declared import declared_bounds
from .sizes.doubles import hand_on_in_single, in_doubles
from .sizes.floor_division import floor_divisions
from .sizes.untold import warn_of_untold
from .zero_biases import leave_out_zero_biases

if TYPE_CHECKING:
    import torch

# Source lines and paths of the tracing machine would make the same model give different bytes.
_DROPPED = frozenset(
    {
        "pkg.torch.onnx.stack_trace",
        "pkg.torch.onnx.fx_node",
        "pkg.torch.onnx.class_hierarchy",
    }
)


def trace(
    module: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    *,
    opset: int | None = None,
) -> gs.Graph:
    """Trace a PyTorch network into a graph; weights keep their `state_dict` names.

    `module`: an `nn.Module`, an `fx.GraphModule`, or an `ExportedProgram` (which carries its own
    inputs and dynamic shapes). `example_inputs`: a tensor, a tuple of positional arguments, or a
    dict of keyword arguments. `dynamic_shapes`: as in `torch.export.export`; dynamic sizes stay
    symbolic in the graph. A module in training mode is traced as inference, which a warning says,
    and is handed back in the mode it was in. The exporter optimizes nothing: that is what passes
    are for. Raises TraceError with the exporter's reason.
    """
    try:
        import torch
    except ImportError as error:
        raise TraceError(
            "tracing needs PyTorch; install it with: pip install planish[torch]"
        ) from error
    args, kwargs = _arguments(module, example_inputs, torch)
    warn_of_untold(module, dynamic_shapes, torch)
    was_program = isinstance(module, torch.export.ExportedProgram)
    before = decisions_of(module, torch) if was_program else []
    declared = {} if was_program else declared_bounds(module, args, kwargs or {}, dynamic_shapes)
    try:
        with (
            _inference_mode(module, torch),
            _quiet(),
            attention_of_any_rank(torch),
            decisions(torch) as decided,
        ):
            program = torch.onnx.export(
                module,
                args,
                kwargs=kwargs,
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=opset,
                dynamic_shapes=dynamic_shapes,
                custom_translation_table={
                    **in_doubles(torch),
                    **floor_divisions(torch),
                    **interpolations(torch),
                },
            )
            refuse_decided(
                type(module).__name__, program.exported_program, [*before, *decided], declared
            )
            hand_on_in_single(program.model.graph, torch)
            _tell_apart(program.model.graph)
            model = program.model_proto
    except TraceError:
        raise
    except Exception as error:  # torch.export raises whatever the traced code raises
        raise TraceError(
            f"cannot trace {type(module).__name__}: {_root_cause(error)}; check that "
            "torch.export.export accepts the module with these inputs"
        ) from error
    graph = load(model)
    leave_out_zero_biases(graph)
    for node in graph.nodes:
        metadata = node_metadata(node)
        if metadata is not None:
            kept = tuple(pair for pair in metadata.properties if pair[0] not in _DROPPED)
            set_node_metadata(node, replace(metadata, properties=kept))
    return graph


def _tell_apart(graph: Any) -> None:
    """Give values of an exporter's `onnx_ir.Graph` that share the name of a weight another one.

    The exporter names a result after its operator, and what lies directly in a module has its plain
    name: `mean` may be both. The result gives way; a weight does where an input has its name.
    """
    weights = graph.initializers
    made = [value for node in graph.all_nodes() for value in node.outputs if value.name]
    taken = {*weights, *(value.name for value in made), *(value.name for value in graph.inputs)}

    def other(name: str) -> str:
        found = next(n for i in itertools.count(1) if (n := f"{name}_{i}") not in taken)
        taken.add(found)
        return found

    for value in made:
        if value.name in weights:
            value.name = other(value.name)
    for value in graph.inputs:
        weight = weights.get(value.name)
        if weight is not None and weight is not value:
            del weights[value.name]
            weight.name = other(value.name)
            weights[weight.name] = weight


def _arguments(
    module: Any, example_inputs: Any, torch: Any
) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    if isinstance(module, torch.export.ExportedProgram):
        return (), None
    if not isinstance(module, torch.nn.Module):
        raise TraceError(
            f"cannot trace a {type(module).__name__}; give an nn.Module, an fx.GraphModule or an "
            "ExportedProgram"
        )
    if example_inputs is None:
        raise TraceError("tracing a module needs example_inputs, such as a tuple of tensors")
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Sequence):
        return tuple(example_inputs), None
    return (example_inputs,), None


@contextlib.contextmanager
def _inference_mode(module: Any, torch: Any) -> Iterator[None]:
    training = []
    if isinstance(module, torch.nn.Module):
        training = [part for part in module.modules() if part.training]
    if training:
        try:
            module.eval()
        except NotImplementedError:  # one of torch.export, in the mode that was exported
            training = []
    if training:
        warnings.warn(
            f"{type(module).__name__} is in training mode; it is traced as inference (running "
            "statistics, no dropout)",
            stacklevel=4,
        )
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's chatter about packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield
        finally:
            logger.setLevel(level)


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip() if lines else 'no message'}"
