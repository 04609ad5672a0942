// Where nodes stand. Ranks are those of the longest path, so that the height of everything is known
// at once, in linear time. The ranks are cut into bands where few tensors cross; dagre lays a band
// out when it is first seen. Long edges run in lanes beside it, one a tensor.

const HEIGHT = 36, GAP = 26, PITCH = HEIGHT + GAP, JOINT = 8, LANE = 7;
const FAR_ON = 12; // ranks that an edge spans from which it runs in a lane
const FEW = 22, MANY = 70; // nodes of a band: from which a narrow cut is taken, and any

const widthOf = (label) => Math.max(96, Math.min(240, 46 + 7.2 * label.length));

// The items of a view: nodes, collapsed groups, inputs and outputs; edges between them.
function viewOf(graph, collapsed) {
  const items = [];
  const itemOf = new Array(graph.nodes.length);
  const add = (item) => items.push({ ...item, id: items.length, width: widthOf(item.label) }) - 1;
  const inputs = graph.inputs.map(([name], at) =>
    add({ kind: "input", at, label: name, nodes: [] }));
  const groups = new Map();
  graph.nodes.forEach((node, at) => {
    const place = graph.groupOf.get(at);
    if (place !== undefined && collapsed.has(place)) {
      if (!groups.has(place)) {
        const group = graph.groups[place];
        groups.set(place, add({ kind: "group", at: place, label: group.label, nodes: group.nodes }));
      }
      itemOf[at] = groups.get(place);
    } else {
      itemOf[at] = add({ kind: "node", at, label: node.op, nodes: [at] });
    }
  });
  const seen = new Set(), edges = [];
  const connect = (from, to) => {
    const key = from * 1e6 + to;
    if (from === to || seen.has(key)) return;
    seen.add(key);
    edges.push([from, to]);
  };
  graph.nodes.forEach((node, at) => {
    for (const source of node.inputs) {
      connect(source >= 0 ? itemOf[source] : inputs[-1 - source], itemOf[at]);
    }
  });
  graph.outputs.forEach(([name, , from], at) => {
    const item = add({ kind: "output", at, label: name, nodes: [] });
    if (from >= 0) connect(itemOf[from], item);
  });
  return { items, edges, itemOf };
}

function ranksOf(count, edges) {
  const after = Array.from({ length: count }, () => []);
  const waiting = new Array(count).fill(0);
  for (const [from, to] of edges) {
    after[from].push(to);
    waiting[to]++;
  }
  const rank = new Array(count).fill(0), order = [];
  const first = [...waiting.keys()].filter((item) => waiting[item] === 0);
  const done = new Array(count).fill(false), ready = [...first];
  for (let next = 0; order.length < count; ) {
    if (next === ready.length) {
      // Groups that feed one another: begin with the first that is left.
      ready.push(done.findIndex((each) => !each));
    }
    const item = ready[next++];
    if (done[item]) continue;
    done[item] = true;
    order.push(item);
    for (const to of after[item]) {
      if (!done[to]) rank[to] = Math.max(rank[to], rank[item] + 1);
      if (--waiting[to] === 0 && !done[to]) ready.push(to);
    }
  }
  for (const item of first) {
    // What nothing enters stands beside its first reader.
    const readers = after[item].map((to) => rank[to]);
    if (readers.length && item > 0) rank[item] = Math.max(0, Math.min(...readers) - 1);
  }
  return rank;
}

function layoutOf(view) {
  const count = view.items.length;
  const rank = ranksOf(count, view.edges);
  const last = rank.reduce((a, b) => Math.max(a, b), 0);
  const rows = Array.from({ length: last + 1 }, () => []);
  rank.forEach((each, item) => rows[each].push(item));
  const until = new Array(count).fill(-1);
  for (const [from, to] of view.edges) {
    if (rank[to] - rank[from] <= FAR_ON) until[from] = Math.max(until[from], rank[to]);
  }
  const crossing = new Array(last + 2).fill(0); // tensors alive between a rank and the next
  until.forEach((end, item) => {
    if (end > rank[item]) { crossing[rank[item]]++; crossing[end]--; }
  });
  for (let at = 1; at <= last; at++) crossing[at] += crossing[at - 1];
  const bands = [], bandOf = new Array(last + 1);
  let start = 0, size = 0, y = 0, best = -1;
  for (let at = 0; at <= last; at++) {
    size += rows[at].length;
    if (size >= FEW / 2 && (best < 0 || crossing[at] <= crossing[best])) best = at;
    const enough = (size >= FEW && crossing[at] <= 1) || size >= MANY || at === last;
    if (!enough) continue;
    const end = crossing[at] <= 1 || at === last || best < 0 ? at : best;
    const band = { id: bands.length, start, end, y, edges: [], up: [], down: [], placed: null };
    band.items = rows.slice(start, end + 1).flat();
    band.height = (end - start + 1) * PITCH + GAP;
    for (let each = start; each <= end; each++) bandOf[each] = band.id;
    bands.push(band);
    y += band.height + JOINT;
    start = end + 1;
    size = rows.slice(start, at + 1).reduce((sum, row) => sum + row.length, 0);
    best = -1;
  }
  const longs = [];
  for (const [from, to] of view.edges) {
    const one = bandOf[rank[from]], two = bandOf[rank[to]];
    if (rank[to] - rank[from] > FAR_ON) longs.push({ from, to, lane: 0 });
    else if (one === two && rank[from] < rank[to]) bands[one].edges.push([from, to]);
    else if (two === one + 1) {
      if (!bands[one].down.includes(from)) bands[one].down.push(from);
      if (!bands[two].up.some(([source]) => source === from)) bands[two].up.push([from, []]);
      bands[two].up.find(([source]) => source === from)[1].push(to);
    } else longs.push({ from, to, lane: 0 });
  }
  const layout = { view, rank, bands, bandOf, longs, height: y, x: new Array(count).fill(0) };
  assignLanes(layout);
  return layout;
}

const bandAt = (layout, item) => layout.bands[layout.bandOf[layout.rank[item]]];

function yOf(layout, item) {
  const band = bandAt(layout, item);
  return band.y + GAP + HEIGHT / 2 + (layout.rank[item] - band.start) * PITCH;
}

// Long edges that overlap in height get lanes of their own; those from one node share one.
function assignLanes(layout) {
  const sources = new Map();
  for (const long of layout.longs) {
    const known = sources.get(long.from);
    const end = Math.max(layout.rank[long.to], layout.rank[long.from]);
    if (known) { known.end = Math.max(known.end, end); known.all.push(long); }
    else sources.set(long.from, {
      start: Math.min(layout.rank[long.to], layout.rank[long.from]), end, all: [long],
    });
  }
  const free = [];
  for (const each of [...sources.values()].sort((a, b) => a.start - b.start)) {
    let lane = free.findIndex((end) => end < each.start);
    if (lane < 0) lane = free.push(0) - 1;
    free[lane] = each.end;
    for (const long of each.all) long.lane = Math.min(lane, 60);
  }
  layout.lanes = Math.min(free.length, 61);
}

function placeBand(layout, band) {
  if (band.placed) return band.placed;
  const graph = new dagre.graphlib.Graph({ multigraph: false });
  graph.setGraph({ rankdir: "TB", ranker: "none", nodesep: 22, edgesep: 12, ranksep: GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  const { view, rank } = layout;
  const row = (item) => 2 * (rank[item] - band.start + 1);
  for (const item of band.items) {
    graph.setNode(`n${item}`, { width: view.items[item].width, height: HEIGHT, rank: row(item) });
  }
  for (const [from, to] of band.edges) graph.setEdge(`n${from}`, `n${to}`);
  for (const [from, readers] of band.up) {
    graph.setNode(`u${from}`, { width: 1, height: 0, rank: 0 });
    for (const to of readers) graph.setEdge(`u${from}`, `n${to}`);
  }
  for (const from of band.down) {
    graph.setNode(`d${from}`, { width: 1, height: 0, rank: 2 * (band.end - band.start + 2) });
    graph.setEdge(`n${from}`, `d${from}`);
  }
  dagre.layout(graph);
  const ports = band.up.length ? band.up.map(([from]) => graph.node(`u${from}`).x) : null;
  const anchors = ports ?? band.items.filter((item) => rank[item] === band.start)
    .map((item) => graph.node(`n${item}`).x);
  const dx = -anchors.reduce((a, b) => a + b, 0) / Math.max(anchors.length, 1);
  const any = band.items[0];
  const dy = yOf(layout, any) - graph.node(`n${any}`).y;
  for (const item of band.items) layout.x[item] = graph.node(`n${item}`).x + dx;
  const up = new Map(), down = new Map();
  for (const [from] of band.up) up.set(from, graph.node(`u${from}`).x + dx);
  for (const from of band.down) down.set(from, graph.node(`d${from}`).x + dx);
  const paths = graph.edges().map((edge) => ({
    from: Number(edge.v.slice(1)),
    to: Number(edge.w.slice(1)),
    ends: edge.w[0] === "n",
    points: graph.edge(edge).points.map((point) => [point.x + dx, point.y + dy]),
  }));
  let left = 0, right = 0;
  for (const item of band.items) {
    left = Math.min(left, layout.x[item] - view.items[item].width / 2);
    right = Math.max(right, layout.x[item] + view.items[item].width / 2);
  }
  band.placed = { up, down, paths, left, right };
  return band.placed;
}
