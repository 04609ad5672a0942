"""What `planish passes NAME` shows."""

from __future__ import annotations

from collections.abc import Iterable

from ...passes.engine.contract import Pass
from ...passes.pipeline.attempt import Attempt, Item
from ...passes.pipeline.describe import OptionDescription, PassDescription, PresetDescription
from ...passes.pipeline.examples import Example
from ...passes.pipeline.pipeline import Pipeline
from ...passes.pipeline.presets import ATTEMPT, OTHERWISE, REPEAT
from .console import out, print_block, print_plain
from .plain import plain_table


def show_pass(found: PassDescription) -> None:
    """Print all that is known of a pass."""
    print_plain(f"{found.name} ({'exact' if found.exact else 'approximate'})")
    print_plain(f"{found.summary}.")
    if found.equation:
        _show_block("", _indented(found.equation))
    if found.text:
        _show_block("", found.text)
    if found.options:
        _show_options(found.options)
    if found.declines:
        reasons = (f"- {reason}" for reason in found.declines)
        _show_block("It leaves a site alone where:", "\n".join(reasons))
    if found.example:
        _show_example(found.example)


def show_preset(found: PresetDescription) -> None:
    """Print what a preset is for and which passes it stands for."""
    print_plain(f"{found.name} (preset)")
    print_plain(f"{found.summary}.")
    _show_preset_options(found)
    _show_block("It stands for:", _indented(",\n".join(map(_spread, _steps(found)))))


def _show_preset_options(found: PresetDescription) -> None:
    table = plain_table("option", "goes to")
    for option, passes in sorted(found.options.items()):
        table.add_row(option, ", ".join(passes))
    out.print()
    out.print(table)


def _steps(found: PresetDescription) -> tuple[Item, ...]:
    return Pipeline.parse(found.pipeline).passes


def _spread(step: Item) -> str:
    """Write a pass in a line of its own, and a group with one for each of its passes."""
    if isinstance(step, Pass):
        return str(step)
    if not isinstance(step, Attempt):
        return _group(REPEAT, map(_spread, step.passes))
    parts = list(map(_spread, step.passes))
    if step.otherwise:
        parts.append(_group(OTHERWISE, map(_spread, step.otherwise)))
    return _group(ATTEMPT, parts)


def _group(word: str, parts: Iterable[str]) -> str:
    return f"{word}(\n" + _indented(",\n".join(parts)) + "\n)"


def _show_options(options: tuple[OptionDescription, ...]) -> None:
    table = plain_table("option", "values", "default", "what it means")
    for option in options:
        table.add_row(option.name, option.type, option.default or "(must be given)", option.text)
    out.print()
    out.print(table)


def _show_example(example: Example) -> None:
    _show_block("An example:", example.caption)
    sections = {"pipeline": example.pipeline, "feeds": example.feeds, "before": example.before}
    sections |= {f"file {name}": text for name, text in example.files.items()}
    for title, text in (sections | {"after": example.after}).items():
        if text:
            _show_block(f"{title}:", _indented(text))


def _show_block(title: str, text: str) -> None:
    out.print()
    if title:
        print_plain(title)
    print_block(text)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
