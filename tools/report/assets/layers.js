// The table of nodes: only rows that are seen are there, whatever their number.

const ROW = 28;
// A phone shows the node and one column of choice.
const NARROW = matchMedia("(max-width: 560px)");

class LayerTable {
  constructor(page) {
    this.page = page;
    this.side = graphs.length - 1;
    this.sort = { key: null, down: true };
    this.filter = "";
    this.box = byId("layer-rows");
    this.box.addEventListener("scroll", () => this.paint());
    const choice = byId("layer-graph");
    graphs.forEach((graph) => choice.append(element("option", { value: graph.side }, graph.role)));
    choice.value = String(this.side);
    choice.addEventListener("change", () => {
      this.side = Number(choice.value);
      this.sort = { key: null, down: true };
      this.build();
    });
    byId("layer-column").addEventListener("change", (event) => this.order(event.target.value));
    NARROW.addEventListener("change", () => this.head());
    byId("layer-filter").addEventListener("input", (event) => {
      this.filter = event.target.value.toLowerCase();
      this.arrange();
    });
    new ResizeObserver(() => this.paint()).observe(this.box);
    this.build();
  }

  get graph() {
    return graphs[this.side];
  }

  build() {
    const { graph } = this;
    this.columns = [
      { key: "name", label: "node", value: (at) => graph.nodes[at].name, text: (value) => value },
      { key: "op", label: "operator", value: (at) => graph.nodes[at].op, text: (value) => value },
      ...(graphs.length > 1 ? [{ key: "status", label: "became", value: (at) => STATUS[status(graph, at)][1], text: (value) => value }] : []),
      { key: "type", label: "output", value: (at) => graph.nodes[at].types[0] ?? "", text: (value) => value },
      ...graph.measures.map((measure) => ({
        key: measure.id, label: measure.label, figure: true, better: measure.better,
        value: (at) => measure.values[at], text: (value) => shown(value, measure.unit),
        total: measure.total === null ? "" : shown(measure.total, measure.unit),
      })),
    ];
    this.visible = [];
    byId("layer-column").replaceChildren(...this.columns.slice(1).map(({ key, label }) =>
      element("option", { value: key }, label)));
    this.head();
  }

  // The columns that are seen; their heads stay where these are the same, and with them the focus.
  head() {
    const [name, ...others] = this.columns;
    const chosen = others.find((each) => each.key === this.sort.key)
      ?? others.find((each) => each.figure) ?? others[0];
    byId("layer-column").value = chosen.key;
    const visible = NARROW.matches ? [name, chosen] : this.columns;
    if (visible.map(({ key }) => key).join() === this.visible.map(({ key }) => key).join()) return this.arrange();
    this.visible = visible;
    const heads = visible.map((column) => element("th", {
      scope: "col", class: column.figure ? "figure" : null,
      "aria-sort": "none", "data-key": column.key,
    }, element("button", { onclick: () => this.order(column.key) }, column.label)));
    byId("layer-head").replaceChildren(...heads);
    byId("layer-foot").replaceChildren(...visible.map((column, at) => element("td", {
      class: column.figure ? "figure" : null,
    }, at === 0 ? "total" : column.total ?? "")));
    return this.arrange();
  }

  order(key) {
    const column = this.columns.find((each) => each.key === key);
    if (this.sort.key === key) this.sort.down = !this.sort.down;
    else this.sort = { key, down: Boolean(column.figure) && column.better !== "high" };
    this.head();
  }

  arrange() {
    const { graph } = this;
    const matches = (node) => !this.filter
      || node.name.toLowerCase().includes(this.filter) || node.op.toLowerCase().includes(this.filter);
    this.rows = [...graph.nodes.keys()].filter((at) => matches(graph.nodes[at]));
    const column = this.columns.find((each) => each.key === this.sort.key);
    if (column) {
      const sign = this.sort.down ? -1 : 1;
      const missing = (value) => value === null || Number.isNaN(value);
      this.rows.sort((a, b) => {
        const one = column.value(a), two = column.value(b);
        if (missing(one) || missing(two)) return missing(one) - missing(two) || a - b;
        return sign * (one < two ? -1 : one > two ? 1 : 0) || a - b;
      });
    }
    for (const head of byId("layer-head").children) {
      const own = head.dataset.key === this.sort.key;
      head.setAttribute("aria-sort", own ? (this.sort.down ? "descending" : "ascending") : "none");
    }
    byId("layer-table").setAttribute("aria-rowcount", this.rows.length + 1);
    byId("layer-count").textContent = `${this.rows.length} of ${graph.nodes.length} nodes`;
    this.box.scrollTop = 0;
    this.paint();
  }

  paint() {
    const body = byId("layer-body");
    const height = this.box.clientHeight || 600;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 10);
    const last = Math.min(this.rows.length, first + Math.ceil(height / ROW) + 20);
    const spacer = (count) => element("tr", { class: "spacer", "aria-hidden": "true" },
      element("td", { colspan: this.visible.length, style: `height:${count * ROW}px` }));
    const { graph } = this;
    const lines = [];
    for (let row = first; row < last; row++) {
      const at = this.rows[row];
      lines.push(element("tr", { "aria-rowindex": row + 2, class: row % 2 ? "odd" : null },
        ...this.visible.map((column, place) => {
          const text = column.text(column.value(at));
          if (place) return element("td", { class: column.figure ? "figure" : null }, text);
          return element("th", { scope: "row" }, element("button", {
            class: "link", title: text, onclick: () => this.page.go(this.side, at),
          }, NARROW.matches ? element("b", {}, graph.nodes[at].op) : "", `${NARROW.matches ? " " : ""}${text}`));
        })));
    }
    body.replaceChildren(spacer(first), ...lines, spacer(this.rows.length - last));
  }
}
