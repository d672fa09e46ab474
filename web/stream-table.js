/** The table of live streams: sorted, searched, in pages. A click on a stream shows its details. */

import { fetchFrom } from "./admin.js";
import { make, setText } from "./elements.js";
import { pathOf } from "./path.js";
import { canDraw, draw } from "./thumbnail.js";
import { age, count, rate } from "./words.js";

/** Rows on a page. */
const PAGE = 25;
/** Milliseconds until the thumbnail of a row is requested again. */
const THUMBNAIL_LIFETIME = 60_000;
/** Width of a thumbnail in pixels. */
const THUMBNAIL_WIDTH = 128;

const find = (selector) => document.querySelector(selector);
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const receivedOf = ({ video, audio }) => (video?.bitrate_bps ?? 0) + (audio?.bitrate_bps ?? 0);

/** Values to sort by, by the column's name. */
const KEYS = {
  name: ({ name }) => name,
  video: ({ video }) => (video ? video.width * video.height : 0),
  received: receivedOf,
  viewers: ({ viewers }) => viewers.connected,
  sent: ({ viewers }) => viewers.bitrate_bps,
  uptime: ({ uptime_seconds }) => uptime_seconds,
};

/** The table. */
export class StreamTable {
  #streams = [];
  #sort = { key: "name", isDown: false };
  #page = 0;
  #rows = new Map();
  /** The streams' places in the order in which they were last sorted, by name. */
  #places = new Map();
  #thumbnails = new Map();
  #makeCard;
  /** The details that are shown: `{ name, card, row }`. */
  #open = null;
  #isDrawing = false;
  #hasOpened = false;

  /** @param {(stream: object) => StreamCard} makeCard makes the details of a stream */
  constructor(makeCard) {
    this.#makeCard = makeCard;
    for (const header of find("#streams thead").querySelectorAll("button")) {
      header.addEventListener("click", () => this.#sortBy(header.dataset.key));
    }
    find("#search").addEventListener("input", () => {
      this.#page = 0;
      this.#render();
    });
    find("#previous").addEventListener("click", () => this.#turn(-1));
    find("#next").addEventListener("click", () => this.#turn(1));
    this.#showSort();
  }

  /** Shows the live streams. */
  show(streams) {
    this.#streams = streams;
    // With one stream, its details are shown at once.
    if (streams.length === 1 && !this.#hasOpened) this.#openDetails(streams[0].name);
    this.#hasOpened ||= streams.length > 0;
    this.#render(isPointedAt());
    this.#showDetails();
    this.#drawThumbnails();
  }

  /** Shows the rows, in the order of the last time if `keepsOrder`. */
  #render(keepsOrder = false) {
    const words = find("#search").value.trim().toLowerCase().split(/\s+/);
    const found = this.#streams.filter((stream) => {
      const text = `${stream.name} ${stream.publisher.encoder ?? ""} ${stream.publisher.address ?? ""}`;
      return words.every((word) => text.toLowerCase().includes(word));
    });
    if (keepsOrder) this.#restore(found);
    else this.#order(found);
    this.#places = new Map(found.map(({ name }, at) => [name, at]));
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    this.#page = Math.min(this.#page, pages - 1);
    const shown = found.slice(this.#page * PAGE, (this.#page + 1) * PAGE);
    this.#fill(shown);
    find("#tools").hidden = this.#streams.length < 2;
    find("#paging").hidden = pages === 1;
    find("#previous").disabled = this.#page === 0;
    find("#next").disabled = this.#page === pages - 1;
    setText(find("#page"), `Page ${this.#page + 1} of ${pages}`);
    const all = count(this.#streams.length, "stream");
    setText(find("#found"), found.length === this.#streams.length ? all : `${found.length} of ${all}`);
  }

  #order(streams) {
    const { key, isDown } = this.#sort;
    const valueOf = KEYS[key];
    const compare = (a, b) =>
      key === "name" ? collator.compare(a.name, b.name) : valueOf(a) - valueOf(b);
    streams.sort((a, b) => (isDown ? -1 : 1) * compare(a, b) || collator.compare(a.name, b.name));
  }

  /** Sorts streams as they were sorted before; new ones come last. */
  #restore(streams) {
    const placeOf = ({ name }) => this.#places.get(name) ?? this.#places.size;
    streams.sort((a, b) => placeOf(a) - placeOf(b));
  }

  /** Puts the rows of these streams into the table, in their order, and keeps those that are there. */
  #fill(streams) {
    const body = find("#streams tbody");
    const gone = new Set(this.#rows.keys());
    const wanted = [];
    for (const stream of streams) {
      gone.delete(stream.name);
      const row = this.#rows.get(stream.name) ?? this.#addRow(stream.name);
      this.#showRow(row, stream);
      wanted.push(row);
      if (this.#open?.name === stream.name) wanted.push(this.#open.row);
    }
    for (const name of gone) this.#rows.delete(name);
    const isLive = (name) => this.#streams.some((stream) => stream.name === name);
    if (this.#open && !isLive(this.#open.name)) this.#open = null;
    const isSame = wanted.length === body.children.length &&
      wanted.every((row, at) => body.children[at] === row);
    // Focus stays where it is unless rows move.
    if (!isSame) {
      const focused = document.activeElement;
      body.replaceChildren(...wanted);
      if (body.contains(focused)) focused.focus({ preventScroll: true });
    }
  }

  #addRow(name) {
    const toggle = make("button", { type: "button", className: "stream-name" });
    toggle.append(make("canvas", { className: "thumb", hidden: true }), make("span", { textContent: name }));
    toggle.addEventListener("click", () => this.#toggle(name));
    const cells = Object.keys(KEYS).map((key) => make("td", { className: `col-${key}` }));
    const header = make("th", { scope: "row", className: "col-name" }, toggle);
    const row = make("tr", {}, header, ...cells.slice(1));
    row.dataset.name = name;
    this.#rows.set(name, row);
    const thumbnail = this.#thumbnails.get(name);
    if (thumbnail?.canvas) toggle.querySelector("canvas").replaceWith(thumbnail.canvas);
    return row;
  }

  #showRow(row, stream) {
    const { video, viewers, uptime_seconds, advice } = stream;
    const fps = video ? `, ${video.frame_rate.toFixed(0)} fps` : "";
    const slow = viewers.limited > 0 ? `${viewers.connected} (${viewers.limited} limited)` : `${viewers.connected}`;
    const texts = [
      video ? `${video.codec} ${video.width}×${video.height}${fps}` : "audio only",
      rate(receivedOf(stream)),
      slow,
      rate(viewers.bitrate_bps),
      age(uptime_seconds),
    ];
    for (const [at, text] of texts.entries()) setText(row.children[at + 1], text);
    row.classList.toggle("limited", viewers.limited > 0);
    row.classList.toggle("advised", Boolean(advice));
    const toggle = row.querySelector("button");
    const isOpen = this.#open?.name === stream.name;
    toggle.setAttribute("aria-expanded", String(isOpen));
    toggle.title = advice ? "There is advice for the encoder" : "";
  }

  #toggle(name) {
    if (this.#open?.name === name) this.#open = null;
    else this.#openDetails(name);
    this.#render(true);
    this.#showDetails();
  }

  #openDetails(name) {
    const card = this.#makeCard(this.#streams.find((stream) => stream.name === name));
    const cell = make("td", { colSpan: Object.keys(KEYS).length }, card.element);
    this.#open = { name, card, row: make("tr", { className: "detail" }, cell) };
  }

  #showDetails() {
    const stream = this.#streams.find(({ name }) => name === this.#open?.name);
    if (stream) this.#open.card.show(stream);
  }

  #sortBy(key) {
    const isSame = this.#sort.key === key;
    // Numbers begin with the largest.
    this.#sort = { key, isDown: isSame ? !this.#sort.isDown : key !== "name" };
    this.#page = 0;
    this.#showSort();
    this.#render();
  }

  #showSort() {
    for (const header of find("#streams thead").querySelectorAll("th")) {
      const isSorted = header.querySelector("button").dataset.key === this.#sort.key;
      const order = this.#sort.isDown ? "descending" : "ascending";
      if (isSorted) header.setAttribute("aria-sort", order);
      else header.removeAttribute("aria-sort");
    }
  }

  #turn(by) {
    this.#page += by;
    this.#render();
    find("#streams").scrollIntoView({ block: "start" });
  }

  /** Draws the thumbnails of the rows, one after the other: each is a keyframe of some size. */
  async #drawThumbnails() {
    if (this.#isDrawing || document.hidden || !canDraw()) return;
    this.#isDrawing = true;
    try {
      await this.#drawDue();
    } finally {
      this.#isDrawing = false;
    }
  }

  async #drawDue() {
    const now = performance.now();
    const isDue = (name) => !(now - (this.#thumbnails.get(name)?.at ?? -Infinity) < THUMBNAIL_LIFETIME);
    for (const [name, row] of this.#rows) {
      if (!row.isConnected || !isDue(name)) continue;
      const canvas = row.querySelector("canvas");
      const response = await fetchFrom(`api/keyframes/${pathOf(name)}`).catch(() => null);
      const isDrawn = response !== null && (await draw(response, canvas, THUMBNAIL_WIDTH));
      if (isDrawn) canvas.hidden = false;
      this.#thumbnails.set(name, { at: performance.now(), canvas: isDrawn ? canvas : null });
    }
    for (const name of this.#thumbnails.keys()) {
      if (!this.#streams.some((stream) => stream.name === name)) this.#thumbnails.delete(name);
    }
  }
}

/** Returns whether a mouse is over the rows, which must not move under it. */
function isPointedAt() {
  return matchMedia("(hover: hover)").matches && find("#streams tbody").matches(":hover");
}
