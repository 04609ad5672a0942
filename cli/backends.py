"""`planish backends`: what lowers a graph, for which targets here, and why not for others."""

from __future__ import annotations

from ..backends.contract.registry import all_backends
from .options import JsonOption
from .show.console import is_verbose, out, print_json, print_plain
from .show.plain import listing_table


def backends(as_json: JsonOption = False) -> None:
    """List the backends and the targets this machine has for them, and why it lacks others."""
    found = {name: item() for name, item in all_backends().items()}
    if as_json:
        rows = [
            {
                "name": name,
                "targets": item.targets(),
                "lacking": item.lacking(),
                "summary": item.summary,
            }
            for name, item in found.items()
        ]
        return print_json({"backends": rows})
    table = [
        (name, ", ".join(item.targets()) or "none", item.summary) for name, item in found.items()
    ]
    out.print(listing_table(table, "backend", "targets here", "what it is"))
    if is_verbose():
        out.print()
        for name, item in found.items():
            options = ", ".join(item.target_options or ()) or "none"
            print_plain(f"{name} takes these options of a target: {options}")
    lacking = [(name, *pair) for name, item in found.items() for pair in item.lacking().items()]
    if lacking:
        out.print()
    for name, target, why in lacking:
        print_plain(f"{name} has no {target} here: {why}")
    return None
