/** A graph of the last minutes, as SVG. */

/** Number of samples that are kept: 15 minutes at one per second, as long as the gateway keeps them. */
const SAMPLES = 900;
/** Number of samples that the graph has room for from the start. */
const ROOM = 60;
/** Size of the drawing, which is stretched to the available width. */
const [WIDTH, HEIGHT] = [300, 72];
const SVG = "http://www.w3.org/2000/svg";

/** A value of a stream over time. */
export class Graph {
  /** The element to put into the page. */
  element = document.createElement("figure");
  #format;
  #floor;
  #samples = [];
  #name;
  #caption = document.createElement("figcaption");
  #value = document.createElement("output");
  #range = document.createElement("span");
  #area = shape("path", "area");
  #line = shape("path", "line");
  #mark = shape("path", "mark");

  /**
   * @param {string} name
   * @param {(value: number) => string} format formats a value
   * @param {number} floor minimum of the top of the scale
   */
  constructor(name, format, floor) {
    this.#name = name;
    this.#format = format;
    this.#floor = floor;
    this.element.className = "graph";
    const title = document.createElement("span");
    title.textContent = name;
    this.#range.className = "range";
    this.#caption.append(title, this.#value);
    const drawing = shape("svg", "");
    drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    drawing.setAttribute("preserveAspectRatio", "none");
    drawing.setAttribute("role", "img");
    drawing.append(this.#area, this.#line, this.#mark);
    drawing.addEventListener("pointermove", (event) => this.#point(event, drawing));
    drawing.addEventListener("pointerleave", () => this.#point(null, drawing));
    this.element.append(this.#caption, drawing, this.#range);
    this.drawing = drawing;
  }

  /** Adds a sample; `null` is a gap. */
  push(value) {
    this.#samples.push(value);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    this.#draw();
  }

  /** Puts the samples of the gateway, the oldest first, before those that were added meanwhile. */
  fill(samples) {
    const added = this.#samples.length;
    const before = added > 0 ? samples.slice(0, -added) : samples;
    this.#samples = [...before, ...this.#samples].slice(-SAMPLES);
    this.#draw();
  }

  /** Width of the time between two samples. */
  get #step() {
    return WIDTH / (Math.max(this.#samples.length, ROOM) - 1);
  }

  #draw() {
    const known = this.#samples.filter((value) => value !== null);
    const now = this.#samples.at(-1);
    const top = Math.max(this.#floor, ...known) * 1.15;
    const x = (at) => WIDTH - (this.#samples.length - 1 - at) * this.#step;
    const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 4);
    const lines = [];
    const areas = [];
    for (const run of runs(this.#samples)) {
      const points = run.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
      lines.push(`M${points.join("L")}`);
      areas.push(`M${x(run[0][0])} ${HEIGHT}L${points.join("L")}L${x(run.at(-1)[0])} ${HEIGHT}Z`);
    }
    this.#line.setAttribute("d", lines.join(""));
    this.#area.setAttribute("d", areas.join(""));
    this.#value.textContent = now === null ? "–" : this.#format(now);
    if (known.length === 0) return;
    const [low, high] = [Math.min(...known), Math.max(...known)].map(this.#format);
    this.#range.textContent = low === high ? "" : `${low} – ${high}`;
    const range = low === high ? "" : `, between ${low} and ${high} over the last minutes`;
    this.drawing.setAttribute("aria-label", `${this.#name}: ${this.#value.textContent} now${range}`);
  }

  /** Shows the sample under the pointer. */
  #point(event, drawing) {
    this.#mark.setAttribute("d", "");
    const now = this.#samples.at(-1);
    this.#value.textContent = now == null ? "–" : this.#format(now);
    if (event === null) return;
    const box = drawing.getBoundingClientRect();
    const ago = Math.round(((box.right - event.clientX) / box.width) * (WIDTH / this.#step));
    const value = this.#samples.at(-1 - ago);
    if (value == null) return;
    const x = WIDTH - ago * this.#step;
    this.#mark.setAttribute("d", `M${x} 0V${HEIGHT}`);
    this.#value.textContent = `${this.#format(value)}, ${ago} s ago`;
  }
}

/** Returns the samples in runs without gaps, each sample with its index. */
function runs(samples) {
  const all = [[]];
  for (const [at, value] of samples.entries()) {
    if (value === null) all.push([]);
    else all.at(-1).push([at, value]);
  }
  return all.filter((run) => run.length > 0);
}

function shape(name, kind) {
  const element = document.createElementNS(SVG, name);
  if (kind) element.setAttribute("class", kind);
  return element;
}
