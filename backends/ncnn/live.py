"""Layers whose results are read."""

from __future__ import annotations

from collections.abc import Sequence

from .model import NcnnLayer


def live(layers: Sequence[NcnnLayer], outputs: Sequence[str]) -> list[NcnnLayer]:
    """Return those of `layers`, which stand in order, that `outputs` hang on, and all inputs.

    A result that nothing reads goes nowhere: ncnn computes what is asked for.
    """
    read = set(outputs)
    found = []
    for layer in reversed(layers):
        if layer.type == "Input" or read.intersection(layer.outputs):
            read.update(layer.inputs)
            found.append(layer)
    return found[::-1]
