// The document of the page, and what is asked of it again and again.

const byId = (id) => document.getElementById(id);

// The document is JSON, deflated, in base64.
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const report = await unpacked(byId("document").textContent);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// Numbers that JSON cannot say are texts.
function number(value) {
  if (typeof value !== "string") return value;
  return { inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

for (const measure of report.measures) measure.values = measure.values.map(number);

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

function scaled(value, unit) {
  const [factor, prefix] = PREFIXES.find(([each]) => Math.abs(value) >= each * 0.9995) ?? [1, ""];
  return `${digits(value / factor)} ${prefix}${unit}`.trim();
}

function digits(value) {
  return value === 0 ? "0" : String(Number(value.toPrecision(3)));
}

function shown(value, unit) {
  if (value === null || value === undefined) return "";
  if (Number.isNaN(value)) return "?";
  if (unit === "s") {
    if (value < 0.9995e-3) return `${digits(value * 1e6)} us`;
    return value < 0.9995 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
  }
  if (unit === "share") return `${(100 * value).toFixed(1)} %`;
  if (unit === "dB") return Number.isFinite(value) ? `${value.toFixed(1)} dB` : "exact";
  return scaled(value, unit);
}

// Readers of each node, and links and declines by node, for each graph.
const SIDES = ["before", "after"];

const graphs = report.graphs.map((graph, side) => {
  const readers = graph.nodes.map(() => []);
  graph.nodes.forEach((node, at) => {
    for (const source of node.inputs) if (source >= 0) readers[source].push(at);
  });
  const linkOf = new Array(graph.nodes.length).fill(null);
  for (const link of report.links) for (const at of link[SIDES[side]]) linkOf[at] = link;
  const declines = new Map();
  for (const decline of report.declines) {
    const at = decline[SIDES[side]];
    if (at >= 0) declines.set(at, [...(declines.get(at) ?? []), decline]);
  }
  const groupOf = new Map();
  graph.groups.forEach((group, place) => group.nodes.forEach((at) => groupOf.set(at, place)));
  const measures = report.measures.filter((measure) => measure.graph === side);
  return { ...graph, side, readers, linkOf, declines, groupOf, measures };
});

function status(graph, at) {
  const link = graph.linkOf[at];
  if (graphs.length < 2) return "same";
  if (link === null) return graph.side === 0 ? "removed" : "added";
  return link.kind === "same" && link.passes.length ? "moved" : link.kind;
}

const STATUS = {
  same: ["=", "the same"],
  moved: ["=", "the same, and wired anew"],
  changed: ["~", "changed"],
  fused: ["*", "fused"],
  replaced: ["*", "replaced"],
  removed: ["\u2212", "removed"],
  added: ["+", "added"],
};

const shortName = (name) => name.split("/").filter(Boolean).slice(-2).join("/");
