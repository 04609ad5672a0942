// The whole graph as a strip of colours beside it, with what is seen of it marked.

class Minimap {
  constructor(view, root) {
    this.view = view;
    this.canvas = d3.select(root).append("canvas").attr("class", "minimap")
      .attr("aria-hidden", "true").node();
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    const jump = (event) => {
      if (!event.buttons) return;
      const { top, height } = this.canvas.getBoundingClientRect();
      const y = ((event.clientY - top) / height) * view.layout.height;
      view.centre(0, y, view.transform.k);
    };
    d3.select(this.canvas).on("pointerdown", jump).on("pointermove", jump);
  }

  paint() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.height) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = box.width * ratio;
    this.canvas.height = box.height * ratio;
    const { context } = this;
    context.scale(ratio, ratio);
    for (const band of this.view.layout.bands) {
      const top = (band.y / this.view.layout.height) * box.height;
      const height = Math.max(0.6, (band.height / this.view.layout.height) * box.height);
      const step = height / band.items.length;
      band.items.forEach((id, at) => {
        context.fillStyle = this.view.colours.of(this.view.layout.view.items[id].nodes);
        context.fillRect(2, top + at * step, box.width - 4, Math.max(0.5, step));
      });
    }
    this.image = context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  mark(top, bottom) {
    if (!this.image) return;
    const { context } = this;
    const box = this.canvas.getBoundingClientRect();
    context.putImageData(this.image, 0, 0);
    context.strokeStyle = token("--ink");
    context.lineWidth = 2;
    const y = (top / this.view.layout.height) * box.height;
    const height = ((bottom - top) / this.view.layout.height) * box.height;
    context.strokeRect(1, Math.max(1, y), box.width - 2, Math.max(4, Math.min(height, box.height - 2)));
  }
}
