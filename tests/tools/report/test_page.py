"""The page: one file that reads nothing, in which nothing of a model is more than text."""

from __future__ import annotations

import base64
import html.parser
import json
import re
import zlib

from planish.tools.report.document import FrontEntry, FrontPoint
from planish.tools.report.page import page

from tests.tools.report.conftest import EVIL

_VOID = {"meta", "link", "br", "img", "input"}
# Attributes of HTML that have a browser fetch something.
_FETCHING = {"src", "href", "srcset", "action", "data", "poster", "background"}


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.scripts, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in _VOID and not (tag == "path" and "d" in dict(attrs)):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        else:
            self.text.append(data)


def test_tags_close_and_ids_are_unique(html):
    found = _Page(html)
    assert found.open == []
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {attrs["for"] for tag, attrs in found.tags if tag == "label" and "for" in attrs}
    controls = {
        attrs[name]
        for _, attrs in found.tags
        for name in ("aria-controls", "aria-labelledby")
        if name in attrs
    }
    assert labels | controls <= set(ids)


def test_the_document_is_inside_as_it_is(html, document):
    found = _Page(html)
    (inner,) = [
        s
        for s, (_, a) in zip(
            found.scripts, [t for t in found.tags if t[0] == "script"], strict=True
        )
        if a.get("type") == "application/zlib"
    ]
    assert json.loads(zlib.decompress(base64.b64decode(inner))) == json.loads(
        json.dumps(document.as_json())
    )


def test_nothing_of_a_model_is_more_than_text(html):
    found = _Page(html)
    assert not [a for t, a in found.tags if t == "img"]
    assert not [a for _, a in found.tags if any(name.startswith("on") for name in a)]
    assert len(found.scripts) == 4
    assert any(EVIL in text for text in found.text)
    assert "{{7*7}}" in "".join(found.text)


def test_nothing_is_fetched(html):
    found = _Page(html)
    fetched = [
        value
        for _, attrs in found.tags
        for name, value in attrs.items()
        if name in _FETCHING and not value.startswith("data:")
    ]
    assert fetched == []
    (policy,) = [a["content"] for t, a in found.tags if a.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "sourceMappingURL" not in html


def test_licences_of_what_is_inside_go_with_it(html):
    text = "".join(_Page(html).text)
    assert "Mike Bostock" in text
    assert "Chris Pettitt" in text


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_what_it_is_on(html):
    """WCAG 2.2, 1.4.3: 4.5 to 1; what is drawn 3 to 1 (1.4.11)."""
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    themes = re.findall(r"--paper:.*?--added: #\w{6}", style, re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", theme))
        for ground in ("paper", "panel"):
            for ink in ("ink", "soft", "link", "good", "bad"):
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
            for line in ("edge", "focus", "hull"):
                assert _contrast(colours[line], colours[ground]) >= 3, (line, ground)
        for tone in ("same", "moved", "changed", "fused", "replaced", "removed", "added", "node"):
            assert _contrast(colours["ink"], colours[tone]) >= 4.5, tone


def test_a_front_has_its_points_and_their_pipelines(document):
    from dataclasses import replace

    front = FrontEntry(
        axes=(("latency", "s", "low"), ("top-1 agreement", "share", "high")),
        points=(
            FrontPoint(
                label="1",
                values={"latency": 0.002, "top-1 agreement": 0.97},
                pipeline="int8{per-channel=true},exact",
                chosen=True,
            ),
            FrontPoint(
                label="2", values={"latency": 0.004, "top-1 agreement": 1.0}, pipeline="exact"
            ),
        ),
    )
    text = "".join(_Page(page(replace(document, front=front))).text)
    assert "int8{per-channel=true},exact" in text
    assert "2.000 ms" in text
    assert "97.0 %" in text
