// The image on two stacked canvases: below the picture, above it what was found, redrawn from 8-bit values by a
// table of 256 colours. Painting keeps a mask of one byte a pixel; only the rectangle that changed is drawn again.
const COLOURS = heatColours();
const CYAN = 0xffffec60; // little endian: alpha, blue, green, red
const DARK = 0xff1e140a;
const PAINTED = 0x8c30d158;
const MOST_UNDO = 50;

function heatColours() {
  const table = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const x = level / 255;
    const red = Math.round(255 * Math.min(1, 0.35 + 1.1 * x));
    const green = Math.round(255 * Math.max(0, Math.min(1, 1.7 * x - 0.45)));
    const blue = Math.round(255 * Math.max(0, 0.35 - 0.6 * x + Math.max(0, x - 0.85) * 2));
    table[level] = (blue << 16) | (green << 8) | red;
  }
  return table;
}

function grey(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const values = new Uint8Array(bitmap.width * bitmap.height);
  for (let i = 0; i < values.length; i++) values[i] = pixels[4 * i];
  return values;
}

const bits = (bitmap) => grey(bitmap).map((value) => (value ? 1 : 0));

export class Viewer {
  constructor(view, sheet, picture, overlay, changed) {
    Object.assign(this, { view, sheet, picture, overlay, changed });
    this.tool = "move";
    this.brush = 8;
    this.layers = { heatmap: true, opacity: 0.55, mask: true, regions: false };
    this.clear();
    this.listen();
    new ResizeObserver(() => this.width && this.fit()).observe(view);
  }

  clear() {
    this.width = this.height = 0;
    this.heat = this.shown = this.painted = this.inspected = null;
    this.boxes = [];
    this.undoable = [];
    this.sheet.hidden = true;
  }

  // bitmaps: image, heatmap, mask, painted (or null); boxes: [x, y, width, height]
  show({ image, heatmap, mask, painted, boxes }) {
    this.clear();
    this.width = image.width;
    this.height = image.height;
    for (const canvas of [this.picture, this.overlay]) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    this.picture.getContext("2d").drawImage(image, 0, 0);
    this.context = this.overlay.getContext("2d");
    this.inspected = { heat: grey(heatmap), shown: bits(mask), boxes };
    Object.assign(this, this.inspected);
    this.painted = painted ? bits(painted) : null;
    this.frame = this.context.createImageData(image.width, image.height);
    this.words = new Uint32Array(this.frame.data.buffer);
    this.sheet.hidden = false;
    this.fit();
    this.redraw();
  }

  // The mask that a threshold (1 to 255) and a reach (share of it, 0 to 1) would cut out of the heatmap: pixels above
  // reach x threshold that hang together with one above the threshold.
  cut(threshold, reach) {
    const low = Math.max(1, threshold * reach);
    const { heat, width, height } = this;
    const found = new Uint8Array(heat.length);
    const stack = [];
    for (let i = 0; i < heat.length; i++) {
      if (heat[i] >= threshold && !found[i]) {
        found[i] = 1;
        stack.push(i);
        while (stack.length) {
          const at = stack.pop(), x = at % width, y = (at - x) / width;
          for (let dy = -1; dy <= 1; dy++) {
            for (let dx = -1; dx <= 1; dx++) {
              const nx = x + dx, ny = y + dy;
              if (nx < 0 || ny < 0 || nx >= width || ny >= height) continue;
              const next = ny * width + nx;
              if (!found[next] && heat[next] >= low) {
                found[next] = 1;
                stack.push(next);
              }
            }
          }
        }
      }
    }
    this.shown = found;
    this.redraw();
    return found.reduce((sum, value) => sum + value, 0);
  }

  asInspected() {
    Object.assign(this, this.inspected);
    this.redraw();
  }

  // What other settings find in the same image.
  showFound(heatmap, mask, boxes) {
    Object.assign(this, { heat: grey(heatmap), shown: bits(mask), boxes });
    this.redraw();
  }

  redraw(box = [0, 0, this.width, this.height]) {
    if (!this.width) return;
    const [left, top, right, bottom] = box;
    const { width, height, words, heat, shown, painted, layers } = this;
    const marked = painted ?? shown;
    const line = Math.max(1, Math.round(Math.max(width, height) / 700));
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const at = y * width + x;
        let word = 0;
        if (layers.heatmap) {
          const alpha = Math.round(255 * layers.opacity * Math.min(1, Math.max(0, (heat[at] - 40) / 120)));
          word = (alpha << 24) | COLOURS[heat[at]];
        }
        if (layers.mask) {
          if (marked[at]) {
            if (painted) word = PAINTED;
          } else {
            const near = this.nearest(marked, x, y, 2 * line);
            if (near <= line) word = CYAN;
            else if (near <= 2 * line) word = DARK;
          }
        }
        words[at] = word;
      }
    }
    this.context.putImageData(this.frame, 0, 0, left, top, right - left, bottom - top);
    if (layers.regions) {
      this.context.lineWidth = line;
      this.context.strokeStyle = "#60ecff";
      for (const [x, y, w, h] of this.boxes) this.context.strokeRect(x - line, y - line, w + 2 * line, h + 2 * line);
    }
  }

  nearest(marked, x, y, most) {
    for (let distance = 1; distance <= most; distance++) {
      for (let step = -distance; step <= distance; step++) {
        if (this.at(marked, x + step, y - distance) || this.at(marked, x + step, y + distance)
          || this.at(marked, x - distance, y + step) || this.at(marked, x + distance, y + step)) return distance;
      }
    }
    return most + 1;
  }

  at(values, x, y) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height && values[y * this.width + x];
  }

  // ------------------------------------------------------------------------------------------------ zoom and move

  fit() {
    const { clientWidth, clientHeight } = this.view;
    this.scale = Math.min(8, 0.96 * Math.min(clientWidth / this.width, clientHeight / this.height));
    this.x = (clientWidth - this.width * this.scale) / 2;
    this.y = (clientHeight - this.height * this.scale) / 2;
    this.place();
  }

  zoom(factor, x = this.view.clientWidth / 2, y = this.view.clientHeight / 2) {
    if (!this.width) return;
    const scale = Math.min(64, Math.max(0.02, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  place() {
    this.sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.sheet.classList.toggle("near", this.scale > 2);
  }

  // ------------------------------------------------------------------------------------------------ painting

  setTool(tool) {
    this.tool = tool;
    this.view.classList.remove("move", "brush", "eraser");
    this.view.classList.add(tool);
  }

  listen() {
    this.view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = this.view.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - left, event.clientY - top);
    }, { passive: false });
    this.view.addEventListener("pointerdown", (event) => this.begin(event));
    this.view.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) this.view.addEventListener(name, () => this.end());
  }

  begin(event) {
    if (!this.width || event.button > 0) return;
    this.view.setPointerCapture(event.pointerId);
    this.last = this.point(event);
    this.from = [event.clientX - this.x, event.clientY - this.y];
    if (this.tool === "move") {
      this.going = "move";
      return;
    }
    this.going = "paint";
    this.before = this.painted ? this.painted.slice() : null;
    this.painted ??= this.shown.slice();
    this.stroke(this.last, this.last);
  }

  go(event) {
    if (this.going === "move") {
      this.x = event.clientX - this.from[0];
      this.y = event.clientY - this.from[1];
      this.place();
    } else if (this.going === "paint") {
      for (const moved of event.getCoalescedEvents?.() ?? [event]) {
        const next = this.point(moved);
        this.stroke(this.last, next);
        this.last = next;
      }
    }
  }

  end() {
    if (this.going === "paint") {
      this.undoable.push(this.before);
      if (this.undoable.length > MOST_UNDO) this.undoable.shift();
      this.redraw();
      this.changed();
    }
    this.going = null;
  }

  point(event) {
    const { left, top } = this.view.getBoundingClientRect();
    return [(event.clientX - left - this.x) / this.scale, (event.clientY - top - this.y) / this.scale];
  }

  stroke([x0, y0], [x1, y1]) {
    const radius = Math.max(0.5, this.brush / 2), value = this.tool === "brush" ? 1 : 0;
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(0.5, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const x = x0 + ((x1 - x0) * step) / steps, y = y0 + ((y1 - y0) * step) / steps;
      for (let py = Math.max(0, Math.floor(y - radius)); py <= Math.min(this.height - 1, Math.ceil(y + radius)); py++) {
        for (let px = Math.max(0, Math.floor(x - radius)); px <= Math.min(this.width - 1, Math.ceil(x + radius)); px++) {
          if ((px + 0.5 - x) ** 2 + (py + 0.5 - y) ** 2 <= radius * radius) this.painted[py * this.width + px] = value;
        }
      }
    }
    const margin = radius + 8;
    const box = [Math.min(x0, x1) - margin, Math.min(y0, y1) - margin, Math.max(x0, x1) + margin, Math.max(y0, y1) + margin];
    const [left, top, right, bottom] = box.map(Math.round);
    this.redraw([Math.max(0, left), Math.max(0, top), Math.min(this.width, right), Math.min(this.height, bottom)]);
  }

  undo() {
    if (!this.undoable.length) return;
    this.painted = this.undoable.pop();
    this.redraw();
    this.changed();
  }

  get canUndo() {
    return this.undoable.length > 0;
  }

  async paintedPng() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext("2d");
    const frame = context.createImageData(this.width, this.height);
    const words = new Uint32Array(frame.data.buffer);
    for (let i = 0; i < words.length; i++) words[i] = this.painted[i] ? 0xffffffff : 0xff000000;
    context.putImageData(frame, 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }
}
