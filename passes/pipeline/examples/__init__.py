"""A small example of every pass, as text: a graph, a pipeline, and the graph that comes out.

An example is read by people (`planish passes NAME`, the documentation) and by the tests, which run
it. Its file `NAME.txt` has a caption of a sentence or two, then sections that begin with a line of
their own:

    --- before      a model, as `ir/files/text` writes it
    --- pipeline    the pass with its options, and what must run before it
    --- feeds       JSON, one batch of samples a line; left out where the pass reads none
    --- file NAME   a model that the pipeline reads from a file of that name
    --- after       the model that comes out, with six digits
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
import onnx

from ....ir.core.dtypes import numpy_dtype
from ....ir.core.errors import LoadError
from ....ir.files.text import model_from_text, model_to_text
from ...engine.context import Feeds

DIGITS = 6  # of numbers in examples: so many are the same on every machine
_SECTION = re.compile(r"^--- (\S.*)\n", re.M)
_FILE = "file "


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example, in text: what to look at, and the sections of its file.

    `feeds` is empty where the pass reads none; `files` are models by the names of their files.
    """

    caption: str
    before: str
    pipeline: str
    feeds: str
    files: Mapping[str, str]
    after: str

    def model(self) -> onnx.ModelProto:
        """Return the model that the pipeline is run on."""
        return model_from_text(self.before)

    def models(self) -> dict[str, onnx.ModelProto]:
        """Return the models that the pipeline reads from files, by the names of the files."""
        return {name: model_from_text(text) for name, text in self.files.items()}

    def batches(self) -> Feeds | None:
        """Return the feeds, each array of the type and shape that its input has; None without."""
        if not self.feeds:
            return None
        kinds = {each.name: each.type.tensor_type.elem_type for each in self.model().graph.input}
        return [
            {name: np.array(values, numpy_dtype(kinds[name])) for name, values in batch.items()}
            for batch in map(json.loads, self.feeds.splitlines())
        ]


def read_example(name: str) -> Example | None:
    """Return the example of the pass called `name`, or None where it has none."""
    file = resources.files(__name__) / f"{name}.txt"
    if not file.is_file():
        return None
    caption, *parts = _SECTION.split(file.read_text("utf-8"))
    pairs = zip(parts[::2], parts[1::2], strict=True)
    sections = {title: text.strip("\n") for title, text in pairs}
    files = {key.removeprefix(_FILE): sections[key] for key in sections if key.startswith(_FILE)}
    try:
        return Example(
            caption=" ".join(caption.split()),
            before=sections["before"],
            pipeline=sections["pipeline"],
            feeds=sections.get("feeds", ""),
            files=files,
            after=sections["after"],
        )
    except KeyError as missing:
        raise LoadError(f"the example {file} has no section {missing}; add it") from None


def show_model(model: onnx.ModelProto) -> str:
    """Write a model as examples have it: without the names that say only a node's operator."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    inside = itertools.chain.from_iterable(function.node for function in shown.functions)
    for node in [*shown.graph.node, *inside]:
        if re.fullmatch(rf"{node.op_type}(_\d+)?", node.name):
            node.ClearField("name")
    return model_to_text(shown, DIGITS).strip("\n")
