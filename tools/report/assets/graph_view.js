// One graph, drawn as far as it is seen: bands are made when they come into view and kept.

const FAR = 0.16; // the scale below which bands are drawn instead of nodes

class GraphView {
  constructor(graph, root, onSelect) {
    this.graph = graph;
    this.onSelect = onSelect;
    this.collapsed = new Set(graph.groups.keys());
    this.selected = null; // an item
    this.colourBy = "status";
    this.svg = d3.select(root).append("svg").attr("class", "drawing").attr("role", "application")
      .attr("tabindex", 0).attr("aria-label", `the graph ${graph.role}; arrow keys walk along it`);
    this.scene = this.svg.append("g");
    this.map = new Minimap(this, root);
    this.painter = new Painter(this);
    this.zoom = d3.zoom()
      .filter((event) => (event.type === "wheel" ? event.ctrlKey : !event.button))
      .on("zoom", (event) => this.moved(event.transform));
    this.svg.call(this.zoom).on("dblclick.zoom", null)
      .on("wheel.pan", (event) => {
        if (event.ctrlKey) return;
        event.preventDefault();
        const k = this.transform.k;
        this.svg.call(this.zoom.translateBy, -event.deltaX / k, -event.deltaY / k);
      })
      .on("keydown", (event) => this.key(event));
    this.transform = d3.zoomIdentity;
    this.observer = new ResizeObserver(() => this.resized());
    this.build();
    this.observer.observe(this.svg.node());
  }

  get size() {
    const box = this.svg.node().getBoundingClientRect();
    return [box.width, box.height];
  }

  build() {
    this.layout = layoutOf(viewOf(this.graph, this.collapsed));
    this.zoom.scaleExtent([Math.min(0.3, 300 / this.layout.height), 3]);
    this.repaint();
  }

  repaint() {
    this.colours = new Colours(this.graph, this.colourBy);
    this.cache = new Map();
    this.scene.selectAll("*").remove();
    this.map.paint();
    this.draw();
  }

  resized() {
    const [width, height] = this.size;
    if (!width || !height) return;
    if (!this.started) {
      this.started = true;
      this.home();
    }
    this.map.paint();
    this.draw();
  }

  home() {
    const [width] = this.size;
    const k = Math.min(1, Math.max(0.85, width / 640));
    this.svg.call(this.zoom.transform, d3.zoomIdentity.translate(width / 2, 8).scale(k));
  }

  fit() {
    const [width, height] = this.size;
    let k = Math.min(1, (height - 16) / this.layout.height);
    let left = 0, right = 0;
    if (k >= FAR) { // else nodes are no wider than a strip
      const placed = this.layout.bands.map((band) => placeBand(this.layout, band));
      left = Math.min(...placed.map((each) => each.left));
      right = Math.max(...placed.map((each) => each.right));
      k = Math.min(k, (width - 16) / Math.max(right - left, 1));
    }
    const x = width / 2 - (k * (left + right)) / 2;
    this.svg.call(this.zoom.transform, d3.zoomIdentity.translate(x, 8).scale(k));
  }

  scaleBy(factor) {
    this.svg.call(this.zoom.scaleBy, factor);
  }

  centre(x, y, k) {
    const [width, height] = this.size;
    const to = d3.zoomIdentity.translate(width / 2 - x * k, height / 2 - y * k).scale(k);
    this.svg.call(this.zoom.transform, to);
  }

  moved(transform) {
    this.transform = transform;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  seen() {
    const [, height] = this.size;
    const { y, k } = this.transform;
    return [-y / k, (height - y) / k];
  }

  draw() {
    const [top, bottom] = this.seen();
    const { bands } = this.layout;
    this.scene.attr("transform", this.transform);
    const far = this.transform.k < FAR;
    const first = Math.max(0, d3.bisector((band) => band.y + band.height).left(bands, top));
    const last = d3.bisector((band) => band.y).right(bands, bottom);
    const visible = bands.slice(first, Math.max(last, first + 1));
    const key = (band) => `${far ? "far" : "near"}${band.id}`;
    this.scene.selectAll("g.band").data(visible, key).join(
      (enter) => enter.append((band) => this.bandElement(band, far)),
      (update) => update,
      (exit) => exit.remove(),
    );
    if (far) {
      const width = Math.max(220, 90 / this.transform.k); // a strip that can be seen at any scale
      this.scene.selectAll("rect.far").attr("x", -width / 2).attr("width", width);
    }
    this.drawLongs(visible, far);
    this.mark();
    this.map.mark(top, bottom);
  }

  bandElement(band, far) {
    const key = `${far ? "far" : "near"}${band.id}`;
    if (!this.cache.has(key)) {
      const group = d3.create("svg:g").attr("class", "band").datum(band);
      if (far) this.painter.paintFar(group, band);
      else this.painter.paintBand(group, band);
      this.cache.set(key, group.node());
    }
    return this.cache.get(key);
  }

  drawLongs(visible, far) {
    const { longs, rank } = this.layout;
    const start = visible[0].start, end = visible[visible.length - 1].end;
    const touched = far ? [] : longs.filter(({ from, to }) =>
      Math.min(rank[from], rank[to]) <= end && Math.max(rank[from], rank[to]) >= start);
    const edge = visible.reduce((left, band) => Math.min(left, band.placed?.left ?? 0), 0) - 18;
    this.scene.selectAll("path.long").data(touched.slice(0, 400), (long) => `${long.from}-${long.to}`)
      .join((enter) => enter.insert("path", ":first-child").attr("class", "edge long"))
      .attr("d", (long) => this.painter.longPath(long, edge - LANE * long.lane))
      .attr("marker-end", "url(#arrow)");
  }

  idOf(item) {
    return `g${this.graph.side}-${item.kind}-${item.at}`;
  }

  nameOf(item) {
    if (item.kind === "node") return this.graph.nodes[item.at].name;
    if (item.kind === "group") return this.graph.nodes[item.nodes[item.nodes.length - 1]].name;
    return item.kind;
  }

  subtitle(item) {
    const value = this.colours.value(item.nodes);
    if (value !== null) return shown(value, this.colours.measure.unit);
    if (item.kind === "group") return `${item.nodes.length} nodes`;
    return item.kind === "node" ? shortName(this.nameOf(item)) : item.kind;
  }

  describe(item) {
    const words = [item.label, this.nameOf(item)];
    if (item.nodes.length && graphs.length > 1) words.push(STATUS[statusOf(this.graph, item.nodes)][1]);
    return words.join(", ");
  }

  toggle(place) {
    const [, height] = this.size;
    if (!this.collapsed.delete(place)) this.collapsed.add(place);
    const at = this.graph.groups[place].nodes[0];
    this.build();
    const item = this.layout.view.items[this.layout.view.itemOf[at]];
    const { x, k } = this.transform;
    this.select(item, true);
    const to = d3.zoomIdentity.translate(x, height / 2 - yOf(this.layout, item.id) * k).scale(k);
    this.svg.call(this.zoom.transform, to);
  }

  setAll(closed) {
    this.collapsed = new Set(closed ? this.graph.groups.keys() : []);
    this.selected = null;
    this.build();
    this.home();
  }

  select(item, told) {
    this.selected = item;
    this.mark();
    if (told) this.onSelect(this, item);
  }

  // Show node `at` in the middle; `told` where the other side should follow.
  show(at, told) {
    const item = this.layout.view.items[this.layout.view.itemOf[at]];
    placeBand(this.layout, bandAt(this.layout, item.id));
    const k = Math.max(this.transform.k, 0.75);
    this.centre(this.layout.x[item.id], yOf(this.layout, item.id), k);
    this.select(item, told);
  }

  mark() {
    this.scene.selectAll("g.node.selected").classed("selected", false);
    if (this.selected === null) return;
    const id = this.idOf(this.selected);
    this.scene.select(`[id="${id}"]`).classed("selected", true);
    this.svg.attr("aria-activedescendant", id);
  }

  key(event) {
    const keys = { "+": () => this.scaleBy(1.3), "-": () => this.scaleBy(1 / 1.3), 0: () => this.home() };
    const step = this.step(event.key);
    if (step !== undefined) {
      if (step !== null) this.walk(step);
    } else if (keys[event.key]) keys[event.key]();
    else if (event.key === "Enter" && this.selected?.kind === "group") this.toggle(this.selected.at);
    else return;
    event.preventDefault();
  }

  // The item that an arrow key leads to, null for none, undefined of other keys.
  step(key) {
    const { view, rank, bands } = this.layout;
    if (!/^Arrow/.test(key)) return undefined;
    if (this.selected === null) return bands[0].items[0];
    const id = this.selected.id;
    if (key === "ArrowDown") return view.edges.find(([from]) => from === id)?.[1] ?? null;
    if (key === "ArrowUp") return view.edges.find(([, to]) => to === id)?.[0] ?? null;
    const row = bandAt(this.layout, id).items.filter((item) => rank[item] === rank[id])
      .sort((a, b) => this.layout.x[a] - this.layout.x[b]);
    return row[row.indexOf(id) + (key === "ArrowLeft" ? -1 : 1)] ?? null;
  }

  walk(id) {
    placeBand(this.layout, bandAt(this.layout, id));
    this.centre(this.layout.x[id], yOf(this.layout, id), Math.max(this.transform.k, 0.5));
    this.select(this.layout.view.items[id], true);
  }

}
