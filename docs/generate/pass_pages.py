"""A page for every pass, one of all of them, and one of the presets."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any

from planish.passes.pipeline.presets import PRESETS
from planish.passes.pipeline.registry import all_passes

from pages import Page, plain, table

# Rooms in the order in which a newcomer meets them.
ROOMS = {
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


def pages() -> list[Page]:
    """Return the pages, grouped by room."""
    own = {name: item for name, item in all_passes().items() if _room(item) in ROOMS}
    ordered = sorted(own.items(), key=lambda pair: (list(ROOMS).index(_room(pair[1])), pair[0]))
    return [_index(ordered), _presets(), *(_page(name, item) for name, item in ordered)]


def _room(item: type[Any]) -> str:
    parts = item.__module__.split(".")
    return parts[2] if parts[:2] == ["planish", "passes"] else ""


def _index(passes: list[tuple[str, type[Any]]]) -> Page:
    text = [
        "# All passes\n",
        "What each does, in a sentence. **exact**: the same function up to rounding, which",
        "verification holds it to. **approximate**: not the same; its error is measured and shown.",
        "The command `planish passes` prints this list.",
    ]
    for room, title in ROOMS.items():
        rows = [
            [f"[`{name}`]({name}.md)", _kind(item), plain(item.summary())]
            for name, item in passes
            if _room(item) == room
        ]
        text += [f"\n## {title}\n", table(["pass", "kind", "what it does"], rows)]
    return Page("passes/index.md", "", "\n".join(text) + "\n")


def _kind(item: type[Any]) -> str:
    return "exact" if item.exact else "approximate"


def _presets() -> Page:
    text = [
        "# Presets\n",
        "A preset is a name for a pipeline; it can stand wherever a pass can, beside others.",
        "`repeat(...)` runs its passes until none of them edits.",
    ]
    for name, pipeline in PRESETS.items():
        text += [f"\n## {name}\n", "```text", pipeline.replace(",", ",\n"), "```"]
    return Page("passes/presets.md", "Presets", "\n".join(text) + "\n")


def _page(name: str, item: type[Any]) -> Page:
    parts = [f"# {name}", f"*{_kind(item)}*"]
    parts += [_module_text(item), plain(inspect.getdoc(item) or "")]
    options = [f for f in dataclasses.fields(item) if not f.name.startswith("_")]
    if options:
        parts += ["## Options", table(["option", "type", "default"], map(_option, options))]
    return Page(f"passes/{name}.md", name, "\n\n".join(parts) + "\n", ROOMS[_room(item)])


def _module_text(item: type[Any]) -> str:
    """Return the module's docstring after its first sentence; equations as they are written."""
    text = inspect.getdoc(sys.modules[item.__module__]) or ""
    paragraphs = text.split("\n\n")[1:]
    return "\n\n".join(map(_paragraph, paragraphs))


def _paragraph(text: str) -> str:
    is_equation = not text.rstrip().endswith((".", ":")) or text.startswith("  ")
    return f"```text\n{inspect.cleandoc(text)}\n```" if is_equation else plain(text)


def _option(field: dataclasses.Field[Any]) -> list[str]:
    default = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
    return [f"`{field.name.replace('_', '-')}`", f"`{field.type}`", default]
