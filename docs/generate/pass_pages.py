"""A page for every pass, one of all of them, and one of the presets."""

from __future__ import annotations

import re

from planish.passes.pipeline.describe import (
    OptionDescription,
    PassDescription,
    PresetDescription,
    describe,
)
from planish.passes.pipeline.examples import Example
from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.registry import all_passes

from pages import Page, plain, table

# Rooms in the order in which a newcomer meets them.
ROOMS = {
    "interface": "Inputs and outputs",
    "cleanup": "Clean-up",
    "layout": "Layout",
    "recognition": "Recognition",
    "linear": "Linear algebra",
    "shuffle": "Channel order",
    "fusion": "Fusion",
    "quantize": "Integers",
    "precision": "Precision",
    "opset": "Opset",
    "prune": "Pruning",
    "decompose": "Decomposition",
    "recover": "Recovery",
    "transfer": "Transfer",
}
_INDEX = """# All passes

What each does, in a sentence. **exact**: the same function up to rounding, which verification holds
it to. **approximate**: not the same; its error is measured and shown. `planish passes` prints this
list, `planish passes NAME` what is on a pass's page.
"""
_PRESETS = """# Presets

A preset is a name for a pipeline; it can stand wherever a pass can, beside others. `repeat(...)`
runs its passes until none of them edits. Where what `attempt(..., otherwise(...))` is for does not
come about, the graph goes back to what it was before, and what is otherwise runs. An option in the
braces of a preset, as in `int8{calibration=min-max}`, goes to every pass of it that has one of that
name.
"""


def pages() -> list[Page]:
    """Return the pages: of all passes, of presets, and one a pass, grouped by room."""
    passes = {room: _passes_of(room) for room in ROOMS}
    made = [_page(each, ROOMS[room]) for room, inside in passes.items() for each in inside]
    return [_index(passes), _presets(), *made]


def _passes_of(room: str) -> list[PassDescription]:
    """Return the passes of `room`, in order of name; those of other distributions are in none."""
    start = f"planish.passes.{room}."
    names = [name for name, kind in all_passes().items() if f"{kind.__module__}.".startswith(start)]
    return [found for found in map(describe, names) if isinstance(found, PassDescription)]


def _index(passes: dict[str, list[PassDescription]]) -> Page:
    text = [_INDEX]
    for room, inside in passes.items():
        rows = [[f"[`{p.name}`]({p.name}.md)", _kind(p), plain(p.summary)] for p in inside]
        text += [f"## {ROOMS[room]}\n", table(["pass", "kind", "what it does"], rows), ""]
    return Page("passes/index.md", "", "\n".join(text))


def _kind(found: PassDescription) -> str:
    return "exact" if found.exact else "approximate"


def _presets() -> Page:
    text = [_PRESETS]
    for preset in map(describe, PRESETS):
        assert isinstance(preset, PresetDescription)
        text += [f"## {preset.name}\n", plain(preset.summary), "", _linked(preset.pipeline), ""]
        rows = [[f"`{name}`", ", ".join(passes)] for name, passes in sorted(preset.options.items())]
        text += [table(["option", "goes to"], rows), ""]
    return Page("passes/presets.md", "Presets", "\n".join(text))


def _linked(pipeline: str) -> str:
    """Return a pipeline with every pass linked to its page."""
    return re.sub(
        r"([a-z][a-z0-9-]*)(\{[^}]*\})?([,)]*)",
        lambda item: _item(item[1], item[2] or "", item[3]),
        pipeline,
    )


def _item(name: str, options: str, end: str) -> str:
    shown = f"`{name}{options}`"
    known = name in all_passes()
    return (f"[{shown}]({name}.md)" if known else f"`{name}`") + end.replace(",", ",\n")


def _page(found: PassDescription, group: str) -> Page:
    parts = [f"# {found.name}", f"**{_kind(found)}** - {plain(found.summary)}."]
    if found.equation:
        parts.append(_code(_narrow(found.equation)))
    parts.append(found.text.replace("<", "&lt;"))
    presets = [f"[`{name}`](presets.md#{name})" for name in PRESETS if _is_in(found.name, name)]
    if presets:
        parts.append(f"In presets: {', '.join(presets)}.")
    if found.example is not None:
        parts += ["## An example", _example(found.example)]
    if found.options:
        parts += ["## Options", _options(found.options)]
    if found.declines:
        parts += ["## When it leaves a site alone", _declines(found.declines)]
    return Page(f"passes/{found.name}.md", found.name, "\n\n".join(parts) + "\n", group)


def _narrow(equation: str) -> str:
    """Return an equation with what is far to its right in a line of its own, where it is wide."""
    lines = equation.splitlines()
    if max(map(len, lines)) <= 70:
        return equation
    return "\n".join(re.sub(r"(\S) {3,}(?=\S)", r"\1\n", line, count=1) for line in lines)


def _is_in(name: str, preset: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){name}(?![\w-])", PRESETS[preset]))


def _example(example: Example) -> str:
    parts = [plain(example.caption), f"With the pipeline `{example.pipeline}`, this"]
    parts.append(_code(example.before))
    for name, text in example.files.items():
        parts += [f"beside the file `{name}`", _code(text)]
    if example.feeds:
        parts += ["on the feeds", _code(example.feeds)]
    return "\n\n".join([*parts, "becomes", _code(example.after)])


def _code(text: str) -> str:
    return f"```text\n{text}\n```"


def _options(options: tuple[OptionDescription, ...]) -> str:
    rows = [[f"`{o.name}`", _values(o.type), f"`{o.default}`", o.text] for o in options]
    return table(["option", "values", "default", "what it means"], rows)


def _values(text: str) -> str:
    return " or ".join(f"`{value}`" for value in text.split(" | "))


def _declines(reasons: tuple[str, ...]) -> str:
    intro = "Where it would say one of these (`--why` shows them):\n"
    return "\n".join([intro, *(f"- {plain(reason)}" for reason in reasons)])
