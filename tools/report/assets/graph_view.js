// One graph, drawn as far as it is seen: bands are made when they come into view and kept.

const FAR = 0.16; // the scale below which bands are drawn instead of nodes
const spline = d3.line().curve(d3.curveMonotoneY);

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
    this.map = d3.select(root).append("canvas").attr("class", "minimap")
      .attr("aria-hidden", "true").node();
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
    const jump = (event) => {
      if (!event.buttons) return;
      const { top, height } = this.map.getBoundingClientRect();
      this.centre(0, ((event.clientY - top) / height) * this.layout.height, this.transform.k);
    };
    d3.select(this.map).on("pointerdown", jump).on("pointermove", jump);
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
    this.paintMap();
    this.draw();
  }

  resized() {
    const [width, height] = this.size;
    if (!width || !height) return;
    if (!this.started) {
      this.started = true;
      this.home();
    }
    this.paintMap();
    this.draw();
  }

  home() {
    const [width] = this.size;
    const k = Math.min(1, Math.max(0.85, width / 640));
    this.svg.call(this.zoom.transform, d3.zoomIdentity.translate(width / 2, 8).scale(k));
  }

  fit() {
    const [width, height] = this.size;
    const k = Math.min(1, (height - 16) / this.layout.height);
    this.svg.call(this.zoom.transform, d3.zoomIdentity.translate(width / 2, 8).scale(k));
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
    this.paintWindow(top, bottom);
  }

  bandElement(band, far) {
    const key = `${far ? "far" : "near"}${band.id}`;
    if (!this.cache.has(key)) {
      const group = d3.create("svg:g").attr("class", "band").datum(band);
      if (far) this.paintFar(group, band);
      else this.paintBand(group, band);
      this.cache.set(key, group.node());
    }
    return this.cache.get(key);
  }

  paintFar(group, band) {
    const nodes = band.items.flatMap((item) => this.layout.view.items[item].nodes);
    group.append("rect").attr("y", band.y)
      .attr("height", band.height - 2).attr("rx", 6).attr("fill", this.colours.of(nodes))
      .attr("class", "far");
  }

  paintBand(group, band) {
    const placed = placeBand(this.layout, band);
    const { items } = this.layout.view;
    this.paintHulls(group, band);
    group.selectAll("path.edge").data(placed.paths).join("path").attr("class", "edge")
      .attr("d", (path) => spline(path.points))
      .attr("marker-end", (path) => (path.ends ? "url(#arrow)" : null));
    if (band.id > 0) {
      const above = placeBand(this.layout, this.layout.bands[band.id - 1]);
      const joints = [...placed.up].map(([from, x]) => [
        [above.down.get(from), band.y - JOINT], [x, band.y],
      ]);
      group.selectAll("path.joint").data(joints).join("path").attr("class", "edge joint")
        .attr("d", spline);
    }
    const nodes = group.selectAll("g.node").data(band.items.map((id) => items[id])).join("g")
      .attr("class", (item) => `node ${item.kind}`)
      .attr("id", (item) => this.idOf(item))
      .attr("role", "button").attr("aria-label", (item) => this.describe(item))
      .attr("transform", (item) =>
        `translate(${this.layout.x[item.id]},${yOf(this.layout, item.id)})`)
      .on("click", (event, item) => this.select(item, true));
    nodes.append("rect").attr("x", (item) => -item.width / 2).attr("y", -HEIGHT / 2)
      .attr("width", (item) => item.width).attr("height", HEIGHT)
      .attr("rx", (item) => (["input", "output"].includes(item.kind) ? HEIGHT / 2 : 6))
      .attr("fill", (item) => this.colours.of(item.nodes));
    const ink = (item) => textOn(this.colours.of(item.nodes));
    nodes.append("text").attr("class", "op").attr("y", -2).attr("fill", ink)
      .text((item) => cut(item.label, item.width - 44));
    nodes.append("text").attr("class", "sub").attr("y", 12).attr("fill", ink)
      .text((item) => cut(this.subtitle(item), (item.width - 16) * 1.2));
    nodes.filter((item) => graphs.length > 1 && item.nodes.length).append("text")
      .attr("class", "sign").attr("x", (item) => -item.width / 2 + 8).attr("y", -3)
      .attr("fill", ink).text((item) => STATUS[statusOf(this.graph, item.nodes)][0]);
    this.paintToggles(nodes.filter((item) => item.kind === "group"), "+", ink, (item) => item.at);
    const firsts = nodes.filter((item) => this.opens(item) !== null);
    this.paintToggles(firsts, "\u2212", ink, (item) => this.opens(item));
  }

  paintToggles(nodes, sign, ink, place) {
    const toggle = nodes.append("g").attr("class", "toggle")
      .attr("transform", (item) => `translate(${item.width / 2 - 10},${-HEIGHT / 2 + 10})`)
      .on("click", (event, item) => {
        event.stopPropagation();
        this.toggle(place(item));
      });
    toggle.append("circle").attr("r", 9).attr("fill", "transparent");
    toggle.append("text").attr("y", 4).attr("fill", ink).text(sign);
  }

  // The open group whose first node the item is, or null.
  opens(item) {
    if (item.kind !== "node") return null;
    const place = this.graph.groupOf.get(item.at);
    return place !== undefined && this.graph.groups[place].nodes[0] === item.at ? place : null;
  }

  paintHulls(group, band) {
    const boxes = new Map();
    for (const id of band.items) {
      const item = this.layout.view.items[id];
      const place = item.kind === "node" ? this.graph.groupOf.get(item.at) : undefined;
      if (place === undefined) continue;
      const x = this.layout.x[id], y = yOf(this.layout, id);
      const box = boxes.get(place) ?? [Infinity, Infinity, -Infinity, -Infinity];
      boxes.set(place, [
        Math.min(box[0], x - item.width / 2 - 8), Math.min(box[1], y - HEIGHT / 2 - 7),
        Math.max(box[2], x + item.width / 2 + 8), Math.max(box[3], y + HEIGHT / 2 + 7),
      ]);
    }
    group.selectAll("rect.hull").data([...boxes.values()]).join("rect").attr("class", "hull")
      .attr("x", (box) => box[0]).attr("y", (box) => box[1]).attr("rx", 10)
      .attr("width", (box) => box[2] - box[0]).attr("height", (box) => box[3] - box[1]);
  }

  drawLongs(visible, far) {
    const { longs, rank } = this.layout;
    const start = visible[0].start, end = visible[visible.length - 1].end;
    const touched = far ? [] : longs.filter(({ from, to }) =>
      Math.min(rank[from], rank[to]) <= end && Math.max(rank[from], rank[to]) >= start);
    const edge = visible.reduce((left, band) => Math.min(left, band.placed?.left ?? 0), 0) - 18;
    this.scene.selectAll("path.long").data(touched.slice(0, 400), (long) => `${long.from}-${long.to}`)
      .join((enter) => enter.insert("path", ":first-child").attr("class", "edge long"))
      .attr("d", (long) => this.longPath(long, edge - LANE * long.lane))
      .attr("marker-end", "url(#arrow)");
  }

  longPath({ from, to }, lane) {
    const place = (item) => {
      const band = bandAt(this.layout, item);
      if (band.placed) return this.layout.x[item];
      return null;
    };
    const half = (item) => this.layout.view.items[item].width / 2;
    const y1 = yOf(this.layout, from), y2 = yOf(this.layout, to);
    const x1 = place(from), x2 = place(to);
    const begin = x1 === null ? `M${lane},${y1}` : `M${x1 - half(from)},${y1}C${lane},${y1} ${lane},${y1} ${lane},${y1 + 24}`;
    const finish = x2 === null ? `L${lane},${y2}` : `L${lane},${y2 - 24}C${lane},${y2} ${lane},${y2} ${x2 - half(to)},${y2}`;
    return begin + finish;
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

  paintMap() {
    const box = this.map.getBoundingClientRect();
    if (!box.height) return;
    const ratio = window.devicePixelRatio || 1;
    this.map.width = box.width * ratio;
    this.map.height = box.height * ratio;
    const context = this.map.getContext("2d", { willReadFrequently: true });
    context.scale(ratio, ratio);
    for (const band of this.layout.bands) {
      const top = (band.y / this.layout.height) * box.height;
      const height = Math.max(0.6, (band.height / this.layout.height) * box.height);
      const step = height / band.items.length;
      band.items.forEach((id, at) => {
        context.fillStyle = this.colours.of(this.layout.view.items[id].nodes);
        context.fillRect(2, top + at * step, box.width - 4, Math.max(0.5, step));
      });
    }
    this.mapImage = context.getImageData(0, 0, this.map.width, this.map.height);
  }

  paintWindow(top, bottom) {
    if (!this.mapImage) return;
    const context = this.map.getContext("2d", { willReadFrequently: true });
    const box = this.map.getBoundingClientRect();
    context.putImageData(this.mapImage, 0, 0);
    context.strokeStyle = token("--ink");
    context.lineWidth = 2;
    const y = (top / this.layout.height) * box.height;
    const height = ((bottom - top) / this.layout.height) * box.height;
    context.strokeRect(1, Math.max(1, y), box.width - 2, Math.max(4, Math.min(height, box.height - 2)));
  }
}

function cut(text, width) {
  const most = Math.max(4, Math.floor(width / 6.6));
  return text.length <= most ? text : `${text.slice(0, most - 1)}\u2026`;
}
