"""A case as one Python file: what it is, and code that shows the fault wherever it is run."""

from __future__ import annotations

import base64
import textwrap
import zlib
from pathlib import Path

import onnx
from onnx import numpy_helper

from .case import Case
from .plugins import loading
from .suspects import Checked, Crash, Steps, Suspect, Wrong

_LONGEST, _MOST_LINES = 100, 60
# Models beyond so many bytes are read from the file beside the script.
_MOST_BYTES = 1 << 20
_PLAIN = "'onnxruntime', optimization='none'"
_COMPARE = (
    "worst = 0.0",
    "for name, right in wanted.items():",
    "    a, b = right.astype(float), found[name].astype(float)",
    "    with np.errstate(all='ignore'):",
    "        apart = np.nan_to_num(np.where(a == b, 0, abs(a - b)), nan=np.inf)",
    "        error = apart.max(initial=0) / max(abs(a).max(initial=0), 1e-30)",
    "    print(f'{name}: {error:.3g} of its range')",
    "    print(right, found[name], sep='\\n')",
    "    worst = max(worst, error)",
)


def reproducer_of(case: Case, suspect: Suspect, shows: str, model: Path, source: str = "") -> str:
    """Return Python code that runs `case` and ends with 1 where the fault shows.

    It holds the model and the feed, unless these are large: then it reads `model`, which lies
    beside it. `source`: what defines the function of a check. Of a crash that ends the process,
    running it does. It loads the files that register what the suspect needs, as they lie now, or
    those that it is given, and ends with 2 where one is missing.
    """
    parts = [_title(suspect, shows), source or "", _imports(suspect), _data(case, model)]
    parts += [loading(suspect) if isinstance(suspect, Steps) else "", _ending(suspect)]
    comments = _text(case.model)
    return (
        "\n\n".join(part.strip("\n") for part in [*parts[:1], comments, *parts[1:]] if part) + "\n"
    )


def _title(suspect: Suspect, shows: str) -> str:
    who = str(suspect) if isinstance(suspect, Steps) else "the check below"
    return textwrap.indent(textwrap.fill(f"{who}: {shows}", 90), "# ")


def _text(model: onnx.ModelProto) -> str:
    if model.ByteSize() > _MOST_BYTES:  # every weight would be a number in it
        return f"# {len(model.graph.node)} nodes and {model.ByteSize()} bytes"
    lines = onnx.printer.to_text(model).splitlines()
    shown = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..." for line in lines]
    if len(shown) > _MOST_LINES:
        shown = [*shown[:_MOST_LINES], "..."]
    return "\n".join(f"# {line}".rstrip() for line in shown)


def _imports(suspect: Suspect) -> str:
    names = [
        "import base64",
        "import sys",
        "import zlib",
        "",
        "import numpy as np",
        "import onnx",
        "from onnx import numpy_helper",
    ]
    return "\n".join([*names, *(["", "import planish"] if isinstance(suspect, Steps) else [])])


def _data(case: Case, model: Path) -> str:
    size = case.model.ByteSize() + sum(array.nbytes for array in case.feed.values())
    if size > _MOST_BYTES:
        return f"model = onnx.load({model.name!r})\nfeed = {{}}  # inputs are drawn"
    packed = _packed(case.model.SerializeToString(deterministic=True))
    lines = ["def unpacked(text):", "    return zlib.decompress(base64.b64decode(text))", "", ""]
    feeds = {name: _packed(_serialized(array, name)) for name, array in case.feed.items()}
    lines += [f"model = onnx.ModelProto.FromString(unpacked(\n{_quoted(packed)}\n))", "feed = {}"]
    for name, text in feeds.items():
        tensor = f"onnx.TensorProto.FromString(unpacked(\n{_quoted(text)}\n))"
        lines.append(f"feed[{name!r}] = numpy_helper.to_array({tensor})")
    return "\n".join(lines)


def _serialized(array: object, name: str) -> bytes:
    made: bytes = numpy_helper.from_array(array, name).SerializeToString()
    return made


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _quoted(text: str) -> str:
    return "\n".join(f"    {line!r}" for line in textwrap.wrap(text, 88) or [""])


def _ending(suspect: Suspect) -> str:
    who: object = suspect
    if isinstance(who, Checked):
        return f"shows = {who.function.__name__}(model)\nprint(shows)\nsys.exit(1 if shows else 0)"
    assert isinstance(who, Steps)
    lines = ["graph = planish.load(model)", "feeds = [feed] if feed else None", "after = graph"]
    strict = isinstance(who, Crash)
    if who.pipeline:
        lines += [
            f"steps = planish.Pipeline.parse({who.pipeline!r})",
            f"after = steps.run(graph, feeds, 'off', seed={who.seed}, strict={strict}).graph",
        ]
    if who.backend or isinstance(who, Wrong):
        given = f"{who.backend!r}, {who.target!r}, {who.threads!r}"
        lines.append(f"found = planish.lower(after, {given if who.backend else _PLAIN})(feed)")
    if isinstance(who, Wrong):
        bound = 1e-5 if who.tolerance is None else who.tolerance
        lines += [f"wanted = planish.lower(graph, {_PLAIN})(feed)", *_COMPARE]
        lines.append(f"sys.exit(0 if worst <= {bound} else 1)")
    return "\n".join(lines)
