/** One stream on the dashboard. */

import { ask } from "./admin.js";
import { Graph } from "./graph.js";
import { pathOf } from "./path.js";
import { age, millis, rate } from "./words.js";

/** Maximum number of listed viewers. */
const LISTED = 50;

/** A stream with its graphs and viewers, and buttons to end its publisher or a viewer. */
export class StreamCard {
  /** The element to put into the page. */
  element = document.querySelector("#stream").content.firstElementChild.cloneNode(true);
  /** Number of viewers. */
  viewers = 0;
  #name;
  #actions;
  #graphs = {
    bitrate: new Graph("Bitrate", rate, 1e5),
    frameRate: new Graph("Frame rate", (value) => `${value.toFixed(value % 1 ? 1 : 0)} fps`, 10),
    viewers: new Graph("Viewers", (value) => String(value), 4),
    jitter: new Graph("Publisher jitter", millis, 10),
  };
  #rows = new Map();
  #isLoading = false;

  /**
   * @param {string} name
   * @param {object} actions
   * @param {(method: string, path: string) => void} actions.act sends a request
   * @param {(question: string, word: string) => Promise<boolean>} actions.confirm asks the user
   */
  constructor(name, actions) {
    this.#name = name;
    this.#actions = actions;
    this.#part("h2").textContent = name;
    this.element.setAttribute("aria-label", `Stream ${name}`);
    this.#part(".graphs").append(...Object.values(this.#graphs).map(({ element }) => element));
    this.#part(".end-publisher").addEventListener("click", () => this.#endPublisher());
    this.#part("details").addEventListener("toggle", () => this.#list());
  }

  /** Opens the list of viewers. */
  open() {
    this.#part("details").open = true;
  }

  /** Updates the card. */
  show(stream) {
    const { video, audio, publisher, viewers } = stream;
    this.viewers = viewers.connected;
    this.#part(".facts").textContent = facts(stream);
    const notice = this.#part(".notice");
    notice.textContent = stream.advice ?? "";
    notice.hidden = !stream.advice;
    const bitrate = (video?.bitrate_bps ?? 0) + (audio?.bitrate_bps ?? 0);
    this.#graphs.bitrate.push(bitrate);
    this.#graphs.frameRate.push(video?.frame_rate ?? null);
    this.#graphs.viewers.push(viewers.connected);
    this.#graphs.jitter.push(publisher.jitter_ms);
    const slow = viewers.limited > 0 ? `, ${viewers.limited} on a slow path` : "";
    this.#part(".count").textContent = `${viewers.connected}${slow}`;
    this.#list();
  }

  async #list() {
    if (!this.#part("details").open || this.#isLoading) return;
    this.#isLoading = true;
    try {
      const query = new URLSearchParams({ stream: this.#name, limit: LISTED });
      this.#showViewers(await ask("GET", `api/viewers?${query}`));
    } catch {
      // The feed shows the error.
    } finally {
      this.#isLoading = false;
    }
  }

  #showViewers({ total, viewers }) {
    this.#part("table").hidden = total === 0;
    this.#part(".quiet").hidden = total > 0;
    const more = this.#part(".more");
    more.hidden = total <= viewers.length;
    more.textContent = `and ${total - viewers.length} more`;
    const gone = new Set(this.#rows.keys());
    for (const viewer of viewers) {
      gone.delete(viewer.id);
      const row = this.#rows.get(viewer.id) ?? this.#addRow(viewer);
      for (const [at, text] of cells(viewer).entries()) row.children[at].textContent = text;
      row.classList.toggle("limited", viewer.limited);
    }
    for (const id of gone) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
  }

  #addRow({ id }) {
    const row = document.createElement("tr");
    const titles = [...this.#part("thead tr").children].map((cell) => cell.textContent);
    row.append(
      ...titles.map((title) => {
        const cell = document.createElement("td");
        cell.dataset.title = title;
        return cell;
      }),
    );
    const end = document.createElement("button");
    end.type = "button";
    end.className = "danger";
    end.textContent = "End…";
    end.setAttribute("aria-label", `End viewer ${id}`);
    end.addEventListener("click", () => this.#endViewer(id));
    row.lastElementChild.append(end);
    this.#part("tbody").append(row);
    this.#rows.set(id, row);
    return row;
  }

  async #endPublisher() {
    const name = this.#name;
    const watching = this.viewers === 1 ? "viewer loses" : "viewers lose";
    const question = `End the publisher of ${name}? ${this.viewers} ${watching} the video until it reconnects, which most encoders do by themselves.`;
    if (await this.#actions.confirm(question, "End publisher")) {
      this.#actions.act("DELETE", `api/publishers/${pathOf(name)}`);
    }
  }

  async #endViewer(id) {
    const question = `End the session of viewer ${id}? Most players reconnect by themselves.`;
    if (await this.#actions.confirm(question, "End session")) {
      this.#actions.act("DELETE", `api/viewers/${id}`);
    }
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

function facts({ video, audio, publisher, uptime_seconds, b_frames }) {
  const words = [];
  if (video) words.push(`${video.codec} ${video.width}×${video.height}`);
  if (video?.gop) words.push(`keyframe every ${video.gop.seconds.toFixed(1)} s`);
  if (b_frames && b_frames !== "none") words.push("B-frames");
  if (audio) words.push(`${audio.codec} ${audio.sample_rate / 1000} kHz`);
  if (publisher.encoder) words.push(publisher.encoder);
  words.push(publisher.address ? `from ${publisher.address}` : "pulled");
  words.push(`for ${age(uptime_seconds)}`);
  return words.join(" · ");
}

/** Returns the texts of a viewer's row, without the button. */
function cells(viewer) {
  return [
    viewer.address ? `${viewer.id} ${viewer.address}` : viewer.id,
    viewer.state === "connected" ? (viewer.transport ?? "").toUpperCase() : viewer.state,
    age(viewer.uptime_seconds),
    rate(viewer.bitrate_bps),
    millis(viewer.round_trip_ms),
    viewer.loss_percent === null ? "–" : `${viewer.loss_percent.toFixed(1)} %`,
    viewer.bandwidth_bps === null ? "–" : rate(viewer.bandwidth_bps),
    String(viewer.nacks),
    String(viewer.keyframe_requests),
    String(viewer.dropped_frames + viewer.skips),
  ];
}
