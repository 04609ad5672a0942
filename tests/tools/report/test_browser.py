"""The page in a browser: opened, searched, clicked through, and nothing on the console.

Needs Playwright (the extra `browser`) and a Chromium: Debian's `chromium`, or Playwright's own.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest

from planish.tools.report.build import GivenModel, model_report
from planish.tools.report.document import FrontEntry, FrontPoint
from planish.tools.report.page import page as page_of

from tests.helpers import graph_of
from tests.tools.report.conftest import EVIL, MADE

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is missing: pip install 'planish[browser]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow  # a second to start a browser, and one or two a page

# The sum of all layout shifts, those without a person's doing.
_SHIFTS = """() => new Promise((done) => {
    let sum = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((e) => { sum += e.value; }))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(sum), 150);
})"""
# The least contrast of a node's text on its node.
_CONTRAST = """() => {
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [...document.querySelectorAll("g.node")].map((node) => {
        const fill = (selector) => light(getComputedStyle(node.querySelector(selector)).fill);
        const [low, high] = [fill("rect"), fill("text.op")].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    });
    return Math.min(...found);
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        try:
            found = started.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium starts: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a function that opens a page of so much HTML; complaints fail the test."""
    complaints = []
    contexts = []

    def opened(text, **options):
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        found = context.new_page()
        found.on("console", lambda message: complaints.append(message.text))
        found.on("pageerror", lambda error: complaints.append(str(error)))
        found.on("requestfailed", lambda request: complaints.append(request.url))
        found.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or complaints.append(request.url)
            ),
        )
        found.goto(path.as_uri())
        found.wait_for_selector("body[data-ready]")
        return found

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_node_leads_to_what_it_came_from(open_page, html):
    page = open_page(html)
    page.click("#tab-graph")
    page.locator("#graph-1 g.node.group").click()
    details = page.locator("#details")
    assert "ConvRelu" in details.locator("h3").inner_text()
    assert "BatchNormalization norm" in details.inner_text()
    assert "fold-batchnorm" in details.inner_text()
    assert page.locator("#graph-0 g.node.selected").get_attribute("id") == "g0-group-0"
    page.click("#details >> text=fold-batchnorm")
    assert page.locator("#panel-passes").is_visible()
    assert "fold-batchnorm" in page.evaluate("document.activeElement.textContent")


def test_groups_open_and_close(open_page, html):
    page = open_page(html)
    page.click("#tab-graph")
    before = page.locator("#graph-0 g.node")
    assert before.count() == 5  # input, group, two nodes, output
    page.click("#expand")
    assert before.count() == 7
    assert page.locator("#graph-0 rect.hull").count() == 1
    page.locator("#graph-0 g.toggle").click()
    assert before.count() == 5
    page.click("#collapse")
    assert page.locator("#graph-1 g.node").count() == 5


@pytest.mark.parametrize("width", [390, 1280])
def test_all_shows_all_of_a_graph_that_is_wider_than_tall(open_page, width):
    readers = " ".join(f"y{i} = Relu(x)" for i in range(12))
    outputs = ", ".join(f"float[4] y{i}" for i in range(12))
    graph = graph_of(f"g (float[4] x) => ({outputs}) {{ {readers} }}")
    made = model_report(GivenModel(graph=graph, file="m"), made=MADE)
    page = open_page(page_of(made), viewport={"width": width, "height": 800})
    page.click("#tab-graph")
    page.click("#fit")
    canvas = page.locator("#graph-0 svg.drawing").bounding_box()
    nodes = page.locator("#graph-0 g.node rect").evaluate_all(
        "all => all.map((node) => node.getBoundingClientRect().toJSON())"
    )
    assert len(nodes) in (0, 25)  # none where they are too small, but a strip
    assert all(
        node["left"] >= canvas["x"] and node["right"] <= canvas["x"] + canvas["width"]
        for node in nodes
    )


def test_search_finds_by_name_and_operator_and_takes_names_for_names(open_page, html):
    page = open_page(html)
    title = page.title()
    page.keyboard.press("/")
    page.keyboard.type("sigmoid script")
    assert page.locator("#found [role=option]").count() == 2
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert EVIL[:20] in page.locator("#details .name").inner_text()
    assert page.locator("img").count() == 0
    assert page.title() == title


def test_the_table_sorts_and_leads_to_the_graph(open_page, html):
    page = open_page(html)
    page.click("#tab-layers")
    page.click("#layer-head >> text=MACs")
    first = page.locator("#layer-body tr:not(.spacer)").first
    assert "Conv" in first.inner_text()
    assert page.locator("th[aria-sort=descending]").inner_text() == "MACs"
    page.fill("#layer-filter", "mul")
    assert page.locator("#layer-count").inner_text() == "1 of 4 nodes"
    page.locator("#layer-body button").click()
    assert page.locator("#panel-graph").is_visible()
    assert page.locator("#graph-1 g.node.selected").count() == 1


def test_a_phone_shows_the_node_and_the_figure_of_choice(open_page, html):
    page = open_page(html, viewport={"width": 390, "height": 800})
    page.click("#tab-layers")
    assert page.locator("#layer-head th").all_inner_texts() == ["node", "MACs"]
    page.select_option("#layer-column", label="output")
    row = page.locator("#layer-body tr:not(.spacer)").first
    assert row.locator("b").inner_text() in {"Conv", "Relu", "Sigmoid", "Mul"}
    assert "float32[2, 8, 9, 9]" in row.inner_text()
    wide = page.locator("#layer-rows").evaluate("box => box.scrollWidth - box.clientWidth")
    assert wide <= 0
    page.set_viewport_size({"width": 1000, "height": 800})
    page.locator("#layer-head th").nth(4).wait_for()


def test_the_keyboard_walks_along_the_graph(open_page, html):
    page = open_page(html)
    page.click("#tab-graph")
    page.focus("#graph-1 svg")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator("#graph-1 g.node.group").count() == 0  # opened
    selected = page.locator("#graph-1 g.node.selected")
    page.keyboard.press("ArrowDown")
    assert selected.get_attribute("id") == "g1-node-1"
    page.keyboard.press("Escape")
    assert page.locator("#details").is_hidden()


def test_a_pass_leads_to_the_nodes_that_it_touched(open_page, html):
    page = open_page(html)
    page.click("#tab-passes")
    row = page.locator("tr[data-pass=fold-batchnorm]")
    row.locator("summary").click()
    touched = row.locator("li").all_inner_texts()
    assert "norm before" in touched
    row.locator("li >> text=norm").click()
    assert page.locator("#graph-0 g.node.selected").count() == 1
    assert "BatchNormalization norm" in page.locator("#details").inner_text()


@pytest.mark.parametrize("width", [390, 1000])
def test_the_labels_of_a_front_are_as_large_as_other_text(open_page, document, width):
    axes = (("latency", "s", "low"), ("drop", "share", "low"))
    points = tuple(
        FrontPoint(
            label=f"p{i}", values={"latency": 0.01 / (i + 1), "drop": 0.013 * i}, pipeline="a"
        )
        for i in range(5)
    )
    with_front = replace(document, front=FrontEntry(axes=axes, points=points))
    page = open_page(page_of(with_front), viewport={"width": width, "height": 800})
    page.click("#tab-front")
    boxes = page.locator("#front-plot text").evaluate_all(
        "all => all.map((text) => text.getBoundingClientRect().toJSON())"
    )
    assert min(min(box["height"], box["width"]) for box in boxes) >= 11
    assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
    ticks = page.locator("#front-plot > g:nth-of-type(1) text").evaluate_all(
        "all => all.map((text) => text.getBoundingClientRect().toJSON())"
    )
    assert all(one["right"] < two["left"] for one, two in pairwise(ticks))
    page.set_viewport_size({"width": 500, "height": 800})
    page.wait_for_function("document.querySelector('#front-plot').viewBox.baseVal.width > 400")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_nodes_can_be_read_in_every_colour(open_page, html, scheme):
    page = open_page(html, color_scheme=scheme)
    page.click("#tab-graph")
    for value in page.locator("#colour option").evaluate_all("all => all.map((o) => o.value)"):
        page.select_option("#colour", value)
        assert page.evaluate(_CONTRAST) >= 4.5, value
    page.click("#theme")
    assert page.evaluate(_CONTRAST) >= 4.5


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_moves_and_nothing_is_wider_than_the_screen(open_page, html, width):
    page = open_page(html, viewport={"width": width, "height": 800})
    assert page.evaluate(_SHIFTS) == 0
    for tab in page.locator("[role=tab]").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#tab-graph")
    if width == 360:
        assert page.locator("#graph-0").is_hidden()
        page.check("[name=side][value='0']")
        assert page.locator("#graph-0 g.node").count() == 5
        assert page.locator("#graph-1").is_hidden()


def test_a_link_to_a_node_opens_there(open_page, html):
    page = open_page(html)
    page.evaluate("location.hash = '#graph:1:2'")
    assert "Sigmoid" in page.locator("#details h3").inner_text()
