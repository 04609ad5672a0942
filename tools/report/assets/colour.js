// Colour by status or by a figure; text on it is black or white, whichever tells more.

const TONES = {
  same: "--same", moved: "--moved", changed: "--changed", fused: "--fused",
  replaced: "--replaced", removed: "--removed", added: "--added",
};

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function textOn(fill) {
  const linear = (value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  const { r, g, b } = d3.rgb(fill);
  const light = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  return light > 0.179 ? "#000" : "#fff";
}

// The colour of an item by the measure of that id; of status where there is none.
class Colours {
  constructor(graph, id) {
    this.graph = graph;
    this.byStatus = id === "status";
    this.measure = graph.measures.find((measure) => measure.id === id) ?? null;
    this.tones = Object.fromEntries(
      Object.entries(TONES).map(([name, tone]) => [name, token(tone)]));
    this.none = token("--node");
    if (this.measure === null) return;
    // Both graphs share a scale.
    const values = report.measures.filter((measure) => measure.id === id)
      .flatMap((measure) => measure.values).filter((value) => Number.isFinite(value));
    this.least = values.reduce((a, b) => Math.min(a, b), Infinity);
    this.largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const span = this.largest - this.least || 1;
    const bad = this.measure.better === "high" ? (x) => 1 - x : (x) => x;
    this.scale = (value) => d3.interpolateYlOrRd(
      0.04 + 0.9 * bad(Math.min(1, Math.max(0, (value - this.least) / span))));
  }

  value(nodes) {
    if (this.measure === null) return null;
    const values = nodes.map((at) => this.measure.values[at]).filter((value) => value !== null);
    if (!values.length) return null;
    if (this.measure.unit === "dB") return Math.min(...values);
    return values.reduce((a, b) => a + b, 0);
  }

  of(nodes) {
    if (this.measure !== null) {
      const value = this.value(nodes);
      return value === null ? this.none : this.scale(value);
    }
    return this.byStatus && nodes.length ? this.tones[statusOf(this.graph, nodes)] : this.none;
  }
}

// What most matters of several nodes.
function statusOf(graph, nodes) {
  const all = nodes.map((at) => status(graph, at));
  return ["fused", "replaced", "changed", "removed", "added", "moved"]
    .find((each) => all.includes(each)) ?? "same";
}
