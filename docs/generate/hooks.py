"""What MkDocs calls while it builds the site: generated pages, and checks that fail the build."""

from __future__ import annotations

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import command_page
import decision_pages
import docstrings
import pass_pages
import race_page
import root_pages
from pages import Page


def on_pre_build(config: MkDocsConfig) -> None:
    """Fail the build for public names without docstring, and for dead links outside the site."""
    problems = [*docstrings.problems(), *root_pages.problems()]
    if problems:
        raise PluginError("\n".join(problems))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and put them into the navigation."""
    passes, decisions = pass_pages.pages(), decision_pages.nav()
    single = [command_page.page(), decision_pages.page(), race_page.page()]
    for page in [*passes, *root_pages.pages(), *single]:
        files.append(File.generated(config, page.uri, content=page.text))
    _fill(config.nav, {"Passes": _tree(passes), "Decisions": decisions})
    return files


def _tree(pages: list[Page]) -> list[Any]:
    """Return the navigation of `pages`: those without a group first, then a section a group."""
    groups: dict[str, list[Any]] = {}
    for page in pages:
        groups.setdefault(page.group, []).append(page.entry())
    return [*groups.pop("", []), *({title: inner} for title, inner in groups.items())]


def _fill(nav: list[Any] | None, sections: dict[str, list[Any]]) -> None:
    """Put the entries of `sections` where the navigation has an empty section of that name."""
    for item in nav or []:
        for title, inner in item.items() if isinstance(item, dict) else ():
            if inner == []:
                inner.extend(sections[title])
            elif isinstance(inner, list):
                _fill(inner, sections)
