// The Pareto front: a point a pipeline, its text below to copy.

function drawFront() {
  const { axes, points } = report.front;
  const [x, y] = axes;
  // In pixels as they are shown, so that text is as large on a phone as elsewhere.
  const width = Math.max(280, Math.min(720, byId("front-plot").clientWidth));
  const height = Math.round(Math.max(280, width * 0.6));
  const margin = { top: 16, right: 24, bottom: 48, left: 76 };
  const scale = ([name], range) => d3.scaleLinear()
    .domain(d3.extent(points, (point) => number(point.values[name]))).nice().range(range);
  const along = scale(x, [margin.left, width - margin.right]);
  const up = scale(y, [height - margin.bottom, margin.top]);
  const svg = d3.select("#front-plot").attr("viewBox", `0 0 ${width} ${height}`);
  svg.selectAll("*").remove();
  svg.append("g").attr("transform", `translate(0,${height - margin.bottom})`)
    .call(d3.axisBottom(along).ticks(width < 480 ? 4 : 6).tickFormat((value) => shown(value, x[1])));
  svg.append("g").attr("transform", `translate(${margin.left},0)`)
    .call(d3.axisLeft(up).ticks(6).tickFormat((value) => shown(value, y[1])));
  svg.append("text").attr("class", "axis").attr("x", width / 2).attr("y", height - 8).text(x[0]);
  svg.append("text").attr("class", "axis").attr("transform", `translate(16,${height / 2}) rotate(-90)`).text(y[0]);
  const ordered = [...points].sort((a, b) => number(a.values[x[0]]) - number(b.values[x[0]]));
  const at = (point) => [along(number(point.values[x[0]])), up(number(point.values[y[0]]))];
  svg.append("path").attr("class", "front").attr("d", d3.line()(ordered.map(at)));
  svg.selectAll("circle").data(points).join("circle")
    .attr("class", (point) => (point.chosen ? "point chosen" : "point"))
    .attr("cx", (point) => at(point)[0]).attr("cy", (point) => at(point)[1])
    .attr("r", (point) => (point.chosen ? 8 : 6))
    .append("title").text((point) => point.label);
  return true;
}
