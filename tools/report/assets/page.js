// The page: tabs, both graphs, the search, and what leads from one to the other.

class Page {
  constructor() {
    this.tabs = [...document.querySelectorAll("[role=tab]")];
    this.tabs.forEach((tab, at) => {
      tab.addEventListener("click", () => this.open(tab.dataset.panel));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) this.tabs[(at + step + this.tabs.length) % this.tabs.length].focus();
      });
    });
    this.theme();
    document.querySelectorAll("[data-copy]").forEach((button) =>
      button.addEventListener("click", () => copy(button)));
    document.querySelectorAll("[data-go]").forEach((button) => button.addEventListener("click", () => {
      const [side, at] = button.dataset.go.split(":").map(Number);
      this.go(side, at);
    }));
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.fromHash());
    window.addEventListener("resize", () => {
      if (this.front && !byId("panel-front").hidden) drawFront();
    });
    this.fromHash();
  }

  fromHash() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    const [panel, side, at] = wanted.split(":");
    const known = this.tabs.some((tab) => tab.dataset.panel === panel);
    this.open(known ? panel : this.tabs[0].dataset.panel, false);
    if (panel === "graph" && at !== undefined && graphs[side]?.nodes[at]) this.go(Number(side), Number(at));
  }

  open(name, remember = true) {
    for (const tab of this.tabs) {
      const own = tab.dataset.panel === name;
      tab.setAttribute("aria-selected", own);
      tab.tabIndex = own ? 0 : -1;
      byId(`panel-${tab.dataset.panel}`).hidden = !own;
    }
    if (remember) history.replaceState(null, "", `#${name}`);
    if (name === "graph") this.openGraph();
    if (name === "layers" && !this.layers) this.layers = new LayerTable(this);
    if (name === "front") this.front = drawFront();
  }

  openGraph() {
    if (this.views) return;
    this.views = graphs.map((graph) =>
      new GraphView(graph, byId(`graph-${graph.side}`), (view, item) => this.selected(view, item)));
    const choice = byId("colour");
    const kinds = new Map(report.measures.map((measure) => [measure.id, measure.label]));
    for (const [id, label] of kinds) choice.append(element("option", { value: id }, label));
    choice.addEventListener("change", () => {
      for (const view of this.views) {
        view.colourBy = choice.value;
        view.repaint();
      }
      this.legend();
    });
    const each = (id, act) => byId(id).addEventListener("click", () => this.shownViews().forEach(act));
    each("zoom-in", (view) => view.scaleBy(1.3));
    each("zoom-out", (view) => view.scaleBy(1 / 1.3));
    each("fit", (view) => view.fit());
    each("home", (view) => view.home());
    byId("collapse").addEventListener("click", () => this.views.forEach((view) => view.setAll(true)));
    byId("expand").addEventListener("click", () => this.views.forEach((view) => view.setAll(false)));
    document.querySelectorAll("[name=side]").forEach((radio) =>
      radio.addEventListener("change", () => this.showSide(Number(radio.value))));
    this.legend();
    this.search = new Search(this);
  }

  shownViews() {
    return this.views.filter((view) => view.size[0] > 0);
  }

  showSide(side) {
    byId("panes").dataset.side = side;
    const radio = document.querySelector(`[name=side][value="${side}"]`);
    if (radio) radio.checked = true;
  }

  selected(view, item) {
    showDetails(this, view, item);
    if (item.nodes.length) {
      history.replaceState(null, "", `#graph:${view.graph.side}:${item.nodes[0]}`);
    }
    if (graphs.length < 2) return;
    const other = this.views[1 - view.graph.side];
    const link = item.nodes.map((at) => view.graph.linkOf[at]).find(Boolean);
    const counterpart = link?.[SIDES[other.graph.side]].at(-1);
    if (counterpart === undefined) other.select(null, false);
    else other.show(counterpart, false);
  }

  deselect() {
    byId("details").hidden = true;
    this.views.forEach((view) => view.select(null, false));
  }

  go(side, at) {
    this.open("graph");
    this.showSide(side);
    requestAnimationFrame(() => {
      this.views[side].show(at, true);
      this.views[side].svg.node().focus({ preventScroll: true });
    });
  }

  goPass(name) {
    this.open("passes");
    const row = document.querySelector(`[data-pass="${CSS.escape(name)}"]`);
    if (!row) return;
    row.scrollIntoView({ block: "center" });
    row.focus();
  }

  legend() {
    const legend = byId("legend");
    const id = byId("colour").value;
    if (id === "status") {
      const kinds = graphs.length < 2 ? [] : Object.entries(STATUS).filter(([kind]) =>
        graphs.some((graph) => graph.nodes.some((_, at) => status(graph, at) === kind)));
      legend.replaceChildren(...kinds.map(([kind, [sign, word]]) =>
        element("span", { class: `tag ${kind}` }, `${sign} ${word}`)));
      return;
    }
    const graph = graphs.find((each) => each.measures.some((measure) => measure.id === id));
    const colours = new Colours(graph, id);
    const { unit, note } = colours.measure;
    const steps = [0, 0.25, 0.5, 0.75, 1].map((part) =>
      colours.scale(colours.least + part * (colours.largest - colours.least)));
    legend.replaceChildren(
      element("span", {}, Number.isFinite(colours.least) ? shown(colours.least, unit) : ""),
      element("span", { class: "ramp", style: `background:linear-gradient(90deg,${steps.join(",")})` }),
      element("span", {}, Number.isFinite(colours.largest) ? shown(colours.largest, unit) : ""),
      element("span", {}, note));
  }

  key(event) {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key === "Escape" && this.views) this.deselect();
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.open("graph");
    byId("search").focus();
  }

  theme() {
    const root = document.documentElement;
    byId("theme").addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      this.recolour();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
  }

  recolour() {
    this.views?.forEach((view) => view.repaint());
    if (this.front) drawFront();
  }
}

// Nodes by name, operator or tensor; the arrow keys and Enter choose one.
class Search {
  constructor(page) {
    this.page = page;
    this.input = byId("search");
    this.list = byId("found");
    this.texts = graphs.map((graph) => graph.nodes.map((node) =>
      `${node.op} ${node.name} ${node.outputs.join(" ")}`.toLowerCase()));
    this.at = -1;
    this.input.addEventListener("input", () => this.find());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("blur", () => setTimeout(() => this.hide(), 150));
  }

  find() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.at = -1;
    this.hits = [];
    for (let side = graphs.length - 1; side >= 0 && words.length; side--) {
      this.texts[side].forEach((text, at) => {
        if (words.every((word) => text.includes(word))) this.hits.push([side, at]);
      });
    }
    const most = 60;
    this.list.replaceChildren(...this.hits.slice(0, most).map(([side, at], place) => {
      const node = graphs[side].nodes[at];
      return element("li", {
        role: "option", id: `found-${place}`, "aria-selected": "false",
        onclick: () => this.choose(place),
      }, element("b", {}, node.op), ` ${node.name}`,
      graphs.length > 1 ? element("i", {}, ` ${graphs[side].role}`) : "");
    }));
    if (!words.length) return this.hide();
    byId("found-count").textContent = `${this.hits.length} found`;
    this.list.append(element("li", { class: "count", "aria-hidden": "true" }, this.hits.length > most
      ? `${this.hits.length} found, the first ${most} shown` : `${this.hits.length} found`));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    return undefined;
  }

  key(event) {
    const shownHits = Math.min(this.hits?.length ?? 0, 60);
    if (event.key === "Enter" && shownHits) this.choose(Math.max(0, this.at));
    else if (event.key === "Escape") this.hide();
    else if (["ArrowDown", "ArrowUp"].includes(event.key) && shownHits) {
      event.preventDefault();
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : -1) + shownHits) % shownHits;
      [...this.list.children].forEach((child, at) => child.setAttribute("aria-selected", at === this.at));
      this.list.children[this.at].scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", `found-${this.at}`);
    }
  }

  choose(place) {
    const [side, at] = this.hits[place];
    this.hide();
    this.page.go(side, at);
  }

  hide() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }
}

function copy(button) {
  const text = byId(button.dataset.copy).textContent;
  const done = () => {
    const was = button.textContent;
    button.textContent = "copied";
    setTimeout(() => { button.textContent = was; }, 1200);
  };
  // Pages that are opened from a folder may have no clipboard.
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => select(button));
  else select(button);
}

function select(button) {
  getSelection().selectAllChildren(byId(button.dataset.copy));
}

new Page();
document.body.dataset.ready = "";
