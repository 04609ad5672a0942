"""Every room of passes has its pages in the documentation."""

import ast
from pathlib import Path

from planish.passes.pipeline.registry import all_passes

ROOT = Path(__file__).parents[2]


def test_every_room_has_pages():
    tree = ast.parse((ROOT / "docs" / "generate" / "pass_pages.py").read_text("utf-8"))
    (rooms,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    )
    start = "planish.passes."
    modules = [kind.__module__ for kind in all_passes().values()]
    here = {name.removeprefix(start).split(".")[0] for name in modules if name.startswith(start)}
    assert here == set(rooms)
