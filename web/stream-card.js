/** The details of one stream on the dashboard. */

import { ask, fetchFrom } from "./admin.js";
import { button, make, setText } from "./elements.js";
import { Graph } from "./graph.js";
import { obsConfigOf } from "./obs-config.js";
import { isLoopback, pathOf } from "./path.js";
import { RenditionList } from "./rendition-list.js";
import { StandbyList } from "./standby-list.js";
import { canDraw, draw } from "./thumbnail.js";
import { ViewerTable } from "./viewer-table.js";
import { age, count, millis, rate } from "./words.js";

/** Milliseconds until the thumbnail is requested again. */
const PICTURE_INTERVAL = 10_000;
/** Level in dBFS below which audio is silent. */
const SILENT = -60;
/** Width of the thumbnail in pixels. */
const THUMBNAIL_WIDTH = 480;

/** A stream with its thumbnail, addresses, graphs and viewers, and buttons to end or block them. */
export class StreamCard {
  /** The element to put into the page. */
  element = document.querySelector("#stream").content.firstElementChild.cloneNode(true);
  #name;
  #actions;
  #viewers = 0;
  #table;
  #renditions = new RenditionList();
  #rtmp;
  #graphs = {
    received_bps: new Graph("Received", rate, 1e5),
    frame_rate: new Graph("Frame rate", (value) => `${value.toFixed(value % 1 ? 1 : 0)} fps`, 10),
    viewers: new Graph("Viewers", (value) => String(value), 4),
    sent_bps: new Graph("Sent", rate, 1e5),
    jitter_ms: new Graph("Publisher jitter", millis, 10),
  };
  #thumbnailAt = -Infinity;
  /** The number of the active publisher, or `null`. */
  #publisher = null;
  #standbys;

  /**
   * @param {object} stream its stats, as for `show`
   * @param {object} actions
   * @param {(method: string, path: string) => Promise<boolean>} actions.act sends a request
   * @param {(question: string, word: string) => Promise<boolean>} actions.confirm asks the user
   * @param {(what: string, target: object) => void} actions.block asks for how long, and blocks
   * @param {object} addresses the URLs for others, up to the name of a stream: `{ watch, whep, rtmp }`
   */
  constructor({ name, has_page }, actions, addresses) {
    this.#name = name;
    this.#actions = actions;
    setText(this.#part("h3"), name);
    this.element.setAttribute("aria-label", `Stream ${name}`);
    this.#part(".graphs").append(...Object.values(this.#graphs).map(({ element }) => element));
    this.#part(".end-publisher").addEventListener("click", () => this.#endPublisher());
    this.#part(".block-publisher").addEventListener("click", () =>
      actions.block(`Publishers of ${name}`, { publisher: name }),
    );
    this.#showAddresses(addresses, has_page);
    this.#table = new ViewerTable(name, {
      endViewer: (id) => this.#endViewer(id),
      blockViewer: (viewer) => actions.block(viewersAt(viewer), { viewer }),
    });
    this.#part(".viewer-list").append(this.#table.element);
    this.#standbys = new StandbyList(name, this.#part(".standbys"), actions);
    this.#part(".renditions").append(this.#renditions.element);
    const copy = button("Copy", () => this.#copy(copy, this.#part(".obs pre").textContent), {
      name: "Copy the configuration for OBS",
    });
    this.#part(".obs").append(copy);
    this.#load();
  }

  /** Shows the newest stats. */
  show(stream) {
    const { video, audio, publisher, viewers } = stream;
    this.#viewers = viewers.connected;
    this.#publisher = publisher.id;
    // A pulled stream has no publisher that could be refused.
    this.#part(".end-publisher").disabled = publisher.id === null;
    this.#part(".block-publisher").hidden = publisher.address === null;
    setText(this.#part(".facts"), facts(stream));
    this.#showNotice(".advice", stream.advice);
    this.#showNotice(".transcode", transcodeOf(stream));
    this.#part(".renditions").hidden = !this.#renditions.show(stream.renditions);
    this.#showObs(stream);
    this.#standbys.show(stream);
    const received = (video?.bitrate_bps ?? 0) + (audio?.bitrate_bps ?? 0);
    this.#graphs.received_bps.push(received);
    this.#graphs.frame_rate.push(video?.frame_rate ?? null);
    this.#graphs.viewers.push(viewers.connected);
    this.#graphs.sent_bps.push(viewers.bitrate_bps);
    this.#graphs.jitter_ms.push(publisher.jitter_ms);
    const slow = viewers.limited > 0 ? `, ${viewers.limited} limited` : "";
    setText(this.#part(".count"), `${viewers.connected}${slow}`);
    this.#list();
    this.#draw();
  }

  /** Shows the configuration for OBS, which stays as it is while somebody may be copying it. */
  #showObs(stream) {
    const details = this.#part(".obs");
    if (details.open) return;
    const config = obsConfigOf(stream, this.#rtmp);
    details.hidden = config === null;
    setText(details.querySelector("pre code"), config ?? "");
  }

  /** Fills the graphs with the last 15 minutes. */
  async #load() {
    const history = await ask("GET", `api/history/${pathOf(this.#name)}`).catch(() => null);
    if (!history) return;
    for (const [key, graph] of Object.entries(this.#graphs)) graph.fill(history[key]);
  }

  async #list() {
    if (!this.element.isConnected || document.hidden) return;
    const listed = await this.#table.update();
    if (!listed) return;
    this.#part(".quiet").hidden = listed.total > 0;
    this.#showNotice(".more", listed.more > 0 ? `and ${listed.more} more` : null);
  }

  async #draw() {
    const now = performance.now();
    if (document.hidden || !canDraw() || now - this.#thumbnailAt < PICTURE_INTERVAL) return;
    this.#thumbnailAt = now;
    const canvas = this.#part("canvas");
    const response = await fetchFrom(`api/keyframes/${pathOf(this.#name)}`).catch(() => null);
    if (response && (await draw(response, canvas, THUMBNAIL_WIDTH))) canvas.hidden = false;
  }

  #showAddresses({ watch, whep, rtmp }, has_page) {
    // A name of one part has no application: the server is the host alone.
    const [, app, key] = /^(?:([^/]+)\/)?(.+)$/.exec(this.#name);
    this.#rtmp = `${rtmp}${app ?? ""}`;
    const page = `${watch}${pathOf(this.#name)}`;
    this.#part(".watch").href = page;
    this.#part(".watch").hidden = !has_page;
    const addresses = [
      ...(has_page ? [["Watch", page]] : []),
      ["WHEP", `${whep}${pathOf(this.#name)}`],
      ["RTMP server", this.#rtmp],
      ["Stream key", key],
    ];
    const rows = addresses.flatMap(([title, text]) => {
      const code = make("code", { textContent: text });
      const copy = button("Copy", () => this.#copy(copy, text), { name: `Copy ${title}` });
      return [make("dt", { textContent: title }), make("dd", {}, code, copy)];
    });
    this.#part(".addresses").append(...rows);
  }

  /** Copies a text. Outside of secure pages, browsers copy only what is selected. */
  async #copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
      setText(button, "Copied");
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      setText(button, "Selected");
    }
    setTimeout(() => setText(button, "Copy"), 2_000);
  }

  async #endPublisher() {
    const name = this.#name;
    // The publisher that the question is about, even if another one takes over meanwhile.
    const id = this.#publisher;
    if (id === null) return;
    const watching = this.#viewers === 1 ? "viewer loses" : "viewers lose";
    const effect =
      this.#standbys.size > 0
        ? "A standby takes over with its next keyframe."
        : `${this.#viewers} ${watching} the video until it reconnects, which most encoders do by themselves.`;
    const question = `End the publisher of ${name}? ${effect}`;
    if (await this.#actions.confirm(question, "End publisher")) {
      this.#actions.act("DELETE", `api/publishers/${pathOf(name)}?id=${id}`);
    }
  }

  async #endViewer(id) {
    const question = `End the session of viewer ${id}? Most players reconnect by themselves; block the address to prevent it.`;
    if (await this.#actions.confirm(question, "End session")) {
      this.#actions.act("DELETE", `api/viewers/${id}`);
    }
  }

  #showNotice(selector, text) {
    const element = this.#part(selector);
    setText(element, text ?? "");
    element.hidden = !text;
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }
}

/** Names the viewers that a block of an address is about. */
function viewersAt(address) {
  if (!isLoopback(address)) return `Viewers at ${address}`;
  return `all viewers on this machine or behind its proxy (${address}; set trusted_proxies to tell the latter apart)`;
}

function facts({ video, audio, publisher, uptime_seconds, b_frames }) {
  const words = [];
  if (video) words.push(`${video.codec} ${video.width}×${video.height}`);
  if (video?.gop) words.push(`keyframe every ${video.gop.seconds.toFixed(1)} s`);
  if (b_frames && b_frames !== "none") words.push("B-frames");
  if (audio) words.push(`${audio.codec} ${audio.sample_rate / 1000} kHz${levelOf(audio)}`);
  if (publisher.encoder) words.push(publisher.encoder);
  words.push(publisher.address ? `from ${publisher.address}` : "pulled");
  words.push(`for ${age(uptime_seconds)}`);
  return words.join(" · ");
}

/** Returns the level of the audio where it is known. */
function levelOf({ level_dbfs: level }) {
  if (level === null) return "";
  return level < SILENT ? ", silent" : `, peak ${level.toFixed(0)} dBFS`;
}

/** Returns a line about the transcoder of a stream, or `null`. */
function transcodeOf({ transcode, viewers }) {
  if (!transcode) return null;
  const { video } = transcode;
  const words = [`Transcoded for ${count(viewers.transcoded, "viewer")}`];
  if (video) words.push(`${video.codec} ${video.width}×${video.height}`, rate(video.bitrate_bps));
  if (transcode.cpu_percent !== null) words.push(`${transcode.cpu_percent} % of a core`);
  words.push(`for ${age(transcode.uptime_seconds)}`);
  return words.join(" · ");
}
