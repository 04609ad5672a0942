// What is known of the selected node, beside the graph.

function showDetails(page, view, item) {
  const panel = byId("details");
  const { graph } = view;
  const close = element("button", { class: "close", "aria-label": "close", onclick: () => page.deselect() }, "\u00d7");
  panel.replaceChildren(close);
  panel.hidden = false;
  if (!item.nodes.length) {
    const [name, type] = item.kind === "input" ? graph.inputs[item.at] : graph.outputs[item.at];
    panel.append(element("h3", {}, `${item.kind} ${name}`), element("p", { class: "type" }, type));
    return;
  }
  if (item.nodes.length > 1) {
    panel.append(element("h3", {}, item.label), element("p", {}, `${item.nodes.length} nodes as one:`));
    panel.append(nodeList(page, graph.side, item.nodes));
    panel.append(element("button", { onclick: () => view.toggle(item.at) }, "Show them"));
  }
  for (const at of item.nodes.length > 1 ? [] : item.nodes) panel.append(...aboutNode(page, graph, at));
  panel.append(...fate(page, graph, item.nodes));
  panel.append(...figures(graph, item.nodes));
}

function aboutNode(page, graph, at) {
  const node = graph.nodes[at];
  const parts = [element("h3", {}, node.domain ? `${node.domain}.${node.op}` : node.op)];
  parts.push(element("p", { class: "name" }, node.name));
  if (node.body) parts.push(element("p", { class: "type" }, `in ${node.body}`));
  node.types.forEach((type, place) => parts.push(
    element("p", { class: "type" }, `${node.outputs[place]}: ${type}`)));
  const attributes = Object.entries(node.attributes);
  if (attributes.length) parts.push(rows(attributes));
  if (node.constants.length) {
    parts.push(element("h4", {}, "Constants"), rows(node.constants.map((constant) => [
      `input ${constant.input}`, `${constant.type}${statistics(constant)}`,
    ])));
  }
  const sources = node.inputs.filter((source) => source >= 0);
  if (sources.length) parts.push(element("h4", {}, "Reads"), nodeList(page, graph.side, sources));
  if (graph.readers[at].length) {
    parts.push(element("h4", {}, "Read by"), nodeList(page, graph.side, graph.readers[at]));
  }
  return parts;
}

function statistics(constant) {
  if (constant.least === null) return "";
  const [least, largest, mean] = [constant.least, constant.largest, constant.mean].map((value) => digits(number(value)));
  const zeros = constant.zeros > 0 ? `, ${(100 * constant.zeros).toFixed(1)} % zeros` : "";
  return least === largest ? `: ${least}` : `: ${least} to ${largest}, mean ${mean}${zeros}`;
}

// What became of nodes, or what they came from; by which pass; and what was left alone, and why.
function fate(page, graph, nodes) {
  if (graphs.length < 2) return declined(graph, nodes);
  const parts = [];
  const other = 1 - graph.side;
  const links = [...new Set(nodes.map((at) => graph.linkOf[at]).filter(Boolean))];
  parts.push(element("h4", {}, graph.side === 0 ? "Became" : "Came from"));
  if (!links.length) parts.push(element("p", {}, graph.side === 0 ? "nothing: it is gone" : "nothing: it is new"));
  for (const link of links) {
    const [sign, word] = STATUS[link.kind];
    parts.push(element("p", {}, element("span", { class: `tag ${link.kind}` }, `${sign} ${word}`)));
    if (link.kind !== "same" && link[SIDES[graph.side]].length > 1) {
      const rest = link[SIDES[graph.side]].filter((at) => !nodes.includes(at));
      if (rest.length) parts.push(element("p", {}, "together with"), nodeList(page, graph.side, rest));
    }
    parts.push(nodeList(page, other, link[SIDES[other]]));
    if (link.details.length) parts.push(element("ul", { class: "changes" },
      ...link.details.map((line) => element("li", {}, line))));
    if (link.passes.length) parts.push(element("p", {}, "Touched by ",
      ...link.passes.flatMap((name, at) => [at ? ", " : "", passLink(page, name)])));
  }
  return [...parts, ...declined(graph, nodes)];
}

function declined(graph, nodes) {
  const found = nodes.flatMap((at) => graph.declines.get(at) ?? []);
  if (!found.length) return [];
  return [element("h4", {}, "Left alone"), element("ul", { class: "changes" },
    ...found.map((each) => element("li", {}, element("b", {}, each.pass_name), `: ${each.reason}`)))];
}

function figures(graph, nodes) {
  const found = graph.measures.map((measure) => {
    const values = nodes.map((at) => measure.values[at]).filter((value) => value !== null);
    if (!values.length) return null;
    const value = measure.unit === "dB" ? Math.min(...values) : values.reduce((a, b) => a + b, 0);
    return [measure.label, shown(value, measure.unit)];
  }).filter(Boolean);
  return found.length ? [element("h4", {}, "Figures"), rows(found)] : [];
}

function rows(pairs) {
  return element("dl", {}, ...pairs.flatMap(([name, value]) => [
    element("dt", {}, name), element("dd", {}, value)]));
}

function nodeList(page, side, nodes) {
  const shownNodes = nodes.slice(0, 24);
  const list = element("ul", { class: "nodes" }, ...shownNodes.map((at) => {
    const node = graphs[side].nodes[at];
    return element("li", {}, element("button", {
      class: "link", onclick: () => page.go(side, at),
    }, element("b", {}, node.op), ` ${shortName(node.name)}`));
  }));
  if (nodes.length > shownNodes.length) list.append(element("li", {}, `and ${nodes.length - shownNodes.length} more`));
  return list;
}

function passLink(page, name) {
  return element("button", { class: "link", onclick: () => page.goPass(name) }, name);
}
