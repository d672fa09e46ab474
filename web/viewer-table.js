/** The viewers of a stream on the dashboard. */

import { ask } from "./admin.js";
import { button, make, setText } from "./elements.js";
import { age, millis, rate } from "./words.js";

/** Maximum number of listed viewers. */
const LISTED = 50;
/** Loss in percent, and round trip in milliseconds, from which on a path is called bad. */
const [LOSSY, FAR] = [2, 200];

/** Orders of the viewers: their words, by the value of the API. */
const ORDERS = {
  trouble: "most trouble first",
  loss: "most loss first",
  round_trip: "longest round trip first",
  bitrate: "highest bitrate first",
  age: "oldest first",
};

/** Titles of the columns. */
const TITLES = ["Viewer", "Path", "Uptime", "Bitrate", "Round trip", "Loss", "Problem", "Dropped", "Actions"];

/** A table of the viewers of one stream. */
export class ViewerTable {
  /** The element to put into the page: the table, and the choice of its order. */
  element = make("div", { hidden: true });
  #table = make("table", { className: "viewer-table" });
  #order = make("select");
  #stream;
  #actions;
  #rows = new Map();
  #isLoading = false;

  /** @param {string} stream @param {object} actions see `StreamCard` */
  constructor(stream, actions) {
    this.#stream = stream;
    this.#actions = actions;
    const headers = TITLES.map((title) => make("th", { scope: "col", textContent: title }));
    this.#table.append(make("thead", {}, make("tr", {}, ...headers)), make("tbody"));
    const orders = Object.entries(ORDERS);
    this.#order.append(...orders.map(([value, text]) => make("option", { value, textContent: text })));
    this.#order.addEventListener("change", () => this.update());
    const choice = make("label", { className: "viewer-order" }, "Order: ", this.#order);
    this.element.append(choice, this.#table);
  }

  /** Requests the viewers and shows them. Returns how many there are, and how many are not listed. */
  async update() {
    if (this.#isLoading) return null;
    this.#isLoading = true;
    try {
      const query = new URLSearchParams({
        stream: this.#stream,
        limit: LISTED,
        sort: this.#order.value,
      });
      const { total, viewers } = await ask("GET", `api/viewers?${query}`);
      this.#show(viewers);
      return { total, more: total - viewers.length };
    } catch {
      // The feed shows the error.
      return null;
    } finally {
      this.#isLoading = false;
    }
  }

  #show(viewers) {
    this.element.hidden = viewers.length === 0;
    const gone = new Set(this.#rows.keys());
    for (const viewer of viewers) {
      gone.delete(viewer.id);
      const row = this.#rows.get(viewer.id) ?? this.#addRow(viewer);
      for (const [at, text] of cells(viewer).entries()) setText(row.children[at], text);
      row.classList.toggle("limited", complaint(viewer) !== "–");
    }
    for (const id of gone) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
    this.#arrange(viewers.map(({ id }) => this.#rows.get(id)));
  }

  /** Moves the rows to their places, but not from under somebody who points at one or has its focus. */
  #arrange(rows) {
    const body = this.#table.tBodies[0];
    const isInUse = body.matches(":focus-within") ||
      (matchMedia("(hover: hover)").matches && body.matches(":hover"));
    const isArranged = rows.every((row, at) => body.children[at] === row);
    if (!isInUse && !isArranged) body.replaceChildren(...rows);
  }

  #addRow({ id, asked_from }) {
    const row = make("tr");
    for (const title of TITLES) {
      const cell = make("td");
      cell.dataset.title = title;
      row.append(cell);
    }
    const end = button("End…", () => this.#actions.endViewer(id), {
      className: "danger",
      name: `End viewer ${id}`,
    });
    row.lastElementChild.append(end);
    if (asked_from) {
      const block = button("Block…", () => this.#actions.blockViewer(asked_from), {
        className: "danger",
        name: `Block the address of viewer ${id}`,
      });
      row.lastElementChild.append(block);
    }
    this.#table.tBodies[0].append(row);
    this.#rows.set(id, row);
    return row;
  }
}

/** Returns the texts of a viewer's row, without the buttons. */
function cells(viewer) {
  const who = [viewer.id, viewer.address, viewer.browser, viewer.page].filter(Boolean);
  return [
    who.join(" · "),
    viewer.state === "connected" ? (viewer.transport ?? "").toUpperCase() : viewer.state,
    age(viewer.uptime_seconds),
    rate(viewer.bitrate_bps),
    millis(viewer.round_trip_ms),
    viewer.loss_percent === null ? "–" : `${viewer.loss_percent.toFixed(1)} %`,
    complaint(viewer),
    String(viewer.dropped_frames + viewer.skips),
  ];
}

/** Returns which part of the path makes the video worse; a dash if none does. */
function complaint({ limited, bandwidth_bps, loss_percent, round_trip_ms, state }) {
  const all = [];
  if (state !== "connected") all.push("not connected yet");
  if (limited) all.push(bandwidth_bps === null ? "path too slow" : `path carries only ${rate(bandwidth_bps)}`);
  if (loss_percent >= LOSSY) all.push("packet loss");
  if (round_trip_ms >= FAR) all.push("high round trip");
  return all.join(", ") || "–";
}
