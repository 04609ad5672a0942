"""What a file says of its values beside their types, kept with the tensors."""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

import onnx
import onnx_graphsurgeon as gs

from .metadata import set_quantization, set_tensor_metadata, tensor_metadata
from .values import require_text, value_metadata

Scope = MutableMapping[str, gs.Tensor]


def describe(
    tensor: gs.Tensor, info: onnx.ValueInfoProto, *, output: bool = False, listed: bool = False
) -> None:
    """Keep with `tensor` what a file says of it beside its type."""
    found = replace(value_metadata(info), listed=listed)
    known = tensor_metadata(tensor)
    said = replace(known, output=found) if output else replace(known, value=found)
    set_tensor_metadata(tensor, said)


def annotate(proto: onnx.GraphProto, local: Scope, outer: Scope) -> None:
    """Keep with each tensor the quantization parameters that the graph notes for it."""
    known = ChainMap(local, outer)
    for annotation in proto.quantization_annotation:
        entries = [(e.key, e.value) for e in annotation.quant_parameter_tensor_names]
        require_text("a quantization annotation", (annotation.tensor_name, *texts_of(entries)))
        found = tuple((key, known[name]) for key, name in entries if name in known)
        if annotation.tensor_name in local:
            set_quantization(local[annotation.tensor_name], found)


def texts_of(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the keys and the values of `pairs`."""
    return itertools.chain.from_iterable(pairs)
