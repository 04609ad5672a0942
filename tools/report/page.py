"""The page of a report: one HTML file with its document, scripts and styles inside."""

from __future__ import annotations

import base64
import functools
import importlib.resources
import json
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .document import ReportDocument
from .overview import (
    change_counts,
    change_groups,
    decline_groups,
    front_cells,
    output_rows,
    pass_rows,
    tiles,
)

if TYPE_CHECKING:
    import jinja2

_SCRIPTS = (
    "data",
    "layout",
    "colour",
    "scene",
    "minimap",
    "graph_view",
    "details",
    "layers",
    "front",
    "page",
)
_VENDORED = ("d3", "dagre")
_KINDS = {
    "run": "what a pipeline made of it",
    "search": "what a search made of it",
    "diff": "two models",
    "model": "a model",
}
_MOST_LISTED = 200
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


def page(report: ReportDocument) -> str:
    """Return the page of `report`, which reads nothing from anywhere.

    Everything that comes from a model is text to the template, or in the document, which the page
    unpacks. Raises ModuleNotFoundError where Jinja2 is missing (the extra `report`).
    """
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report,
        document=packed(report),
        kind=_KINDS[report.kind],
        tabs=list(_tabs(report)),
        tiles=tiles(report),
        changes=change_groups(report),
        counts=change_counts(report),
        run=report.run,
        remarks=[*report.remarks, *(report.run["remarks"] if report.run else [])],
        passes=pass_rows(report),
        declined=decline_groups(report),
        outputs=output_rows(report),
        front_cells=front_cells(report),
        most=_MOST_LISTED,
        css=_markup(_asset("report.css")),
        scripts=list(_scripts()),
        licences=[(name, _asset(f"vendor/{name}.LICENSE")) for name in _VENDORED],
    )


def _tabs(report: ReportDocument) -> Iterator[tuple[str, str]]:
    yield "overview", "Overview"
    yield "graph", "Graph"
    yield "layers", "Layers"
    if report.run is not None or report.declines:
        yield "passes", "Passes" if report.run is not None else "Left alone"
    if report.agreement is not None:
        yield "samples", "Samples"
    if report.front is not None:
        yield "front", "Pareto front"


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


@functools.cache
def _asset(name: str) -> str:
    root = importlib.resources.files(__package__).joinpath("assets")
    return root.joinpath(name).read_text(encoding="utf-8")


def _scripts() -> Iterator[Any]:
    """Yield the scripts: those of others, then the page's own as one."""
    for name in _VENDORED:
        yield _markup(_SOURCE_MAP.sub("", _asset(f"vendor/{name}.min.js")))
    own = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    yield _markup(f'"use strict";\n(async () => {{\n{own}}})();')


def packed(report: ReportDocument) -> str:
    """Return the document as JSON, deflated (RFC 1950), in base64: letters that no tag is made of.

    Names stand in it many times: 10,000 nodes take a tenth of what they take as they are.
    """
    text = json.dumps(report.as_json(), separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)
