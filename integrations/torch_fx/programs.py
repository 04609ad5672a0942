"""Programs of torch.export through a pipeline: the same signature, other operators and weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from ...ir.core.errors import ConversionError, VerificationError
from ...ir.core.shown import shortened
from ...ir.torch.to_fx import to_fx
from ...ir.torch.trace import trace
from ...passes.pipeline.pipeline import Pipeline
from ..hosted import hosted
from ..torch_close import close
from .examples import by_argument, noted_examples
from .open_sizes import check_sizes, sizes_of
from .signature import with_signature_of

_READ = frozenset(
    {InputKind.USER_INPUT, InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
)


def optimize_program(
    program: torch.export.ExportedProgram, pipeline: str | Pipeline = "exact", **options: Any
) -> torch.export.ExportedProgram:
    """Return what `pipeline` makes of `program`, exported again; `program` itself for the same.

        program = optimize_program(torch.export.export(module.eval(), (x,)), "exact")

    Names and structure of inputs and outputs are kept, and so are open sizes with their bounds;
    `program` is left untouched. Both are run on example inputs and compared; where passes are
    approximate, that is what the program is before them. Options are those of `onnx_ir.as_pass`.

    Raises ConversionError, naming what it is about, for a program that writes to its buffers or
    inputs, has inputs or outputs that are numbers computed from sizes, or whose sizes would no
    longer be open; VerificationError where the results differ by more than rounding; TraceError,
    and what `Pipeline.run` raises.
    """
    _require_pure(program)
    run = hosted(pipeline, **options)
    graph = trace(program)
    made = run.run(graph)
    if made is None:
        return program
    original = program.module()
    network = with_signature_of(original, to_fx(made))
    args, kwargs = _examples(program, original)
    try:
        found = torch.export.export(
            network, args, kwargs, dynamic_shapes=sizes_of(program, original), strict=False
        )
    except Exception as error:  # torch.export raises whatever the traced code raises
        first = str(error).strip().partition("\n")[0]
        raise ConversionError(
            f"what '{shortened(str(run.pipeline))}' leaves cannot be exported again: {first}"
        ) from error
    check_sizes(program, found)
    same = network if run.pipeline.is_exact else with_signature_of(original, to_fx(graph))
    _compare(original, same, args, kwargs)
    return found


def _require_pure(program: torch.export.ExportedProgram) -> None:
    signature = program.graph_signature
    for given in signature.input_specs:
        if given.kind not in _READ:
            raise ConversionError(
                f"input '{given.arg.name}' of the program is a {given.kind.name.lower()}, which no "
                "graph has; export it without"
            )
    written = [o.target for o in signature.output_specs if o.kind is not OutputKind.USER_OUTPUT]
    known = signature.inputs_to_buffers | signature.inputs_to_parameters
    written += [known.get(name, name) for name in _written_to(program.graph)]
    if written:
        raise ConversionError(
            f"the program writes to '{written[0]}', as training does and a graph cannot; export "
            "the module for inference: module.eval()"
        )


def _written_to(graph: torch.fx.Graph) -> Iterator[str]:
    """Yield the inputs that operators of `graph` write to in place."""
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        for declared, given in zip(schema.arguments, node.args, strict=False):
            writes = declared.alias_info is not None and declared.alias_info.is_write
            if writes and isinstance(given, torch.fx.Node) and given.op == "placeholder":
                yield given.name


def _examples(
    program: torch.export.ExportedProgram, original: torch.fx.GraphModule
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if program.example_inputs is not None:
        args, kwargs = program.example_inputs
        return args, kwargs
    return by_argument(original, noted_examples(original).inputs)


def _compare(original: Any, network: Any, args: Any, kwargs: Any) -> None:
    with torch.no_grad():
        wanted, found = (pytree.tree_leaves(f(*args, **kwargs)) for f in (original, network))
    for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if isinstance(a, torch.Tensor) and not close(a, b):
            raise VerificationError(
                f"output {index} of the program differs from the original's by more than rounding"
            )
