// What is drawn of a band: nodes, edges and open groups, or a bar where nodes are too small.

const spline = d3.line().curve(d3.curveMonotoneY);

class Painter {
  constructor(view) {
    this.view = view;
    this.graph = view.graph;
  }

  get layout() {
    return this.view.layout;
  }

  get colours() {
    return this.view.colours;
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
      .attr("id", (item) => this.view.idOf(item))
      .attr("role", "button").attr("aria-label", (item) => this.view.describe(item))
      .attr("transform", (item) =>
        `translate(${this.layout.x[item.id]},${yOf(this.layout, item.id)})`)
      .on("click", (event, item) => this.view.select(item, true));
    nodes.append("rect").attr("x", (item) => -item.width / 2).attr("y", -HEIGHT / 2)
      .attr("width", (item) => item.width).attr("height", HEIGHT)
      .attr("rx", (item) => (["input", "output"].includes(item.kind) ? HEIGHT / 2 : 6))
      .attr("fill", (item) => this.colours.of(item.nodes));
    const ink = (item) => textOn(this.colours.of(item.nodes));
    nodes.append("text").attr("class", "op").attr("y", -2).attr("fill", ink)
      .text((item) => cut(item.label, item.width - 44));
    nodes.append("text").attr("class", "sub").attr("y", 12).attr("fill", ink)
      .text((item) => cut(this.view.subtitle(item), (item.width - 16) * 1.2));
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
        this.view.toggle(place(item));
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
}

function cut(text, width) {
  const most = Math.max(4, Math.floor(width / 6.6));
  return text.length <= most ? text : `${text.slice(0, most - 1)}\u2026`;
}
