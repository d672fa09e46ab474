/** The publishers of one stream on the dashboard: the active one, and those that stand by. */

import { button, make, setText } from "./elements.js";
import { pathOf } from "./path.js";
import { age, rate } from "./words.js";

/** Seconds without a frame after which a standby is shown as silent. */
const SILENT_AFTER = 2;

/** The publishers of a stream, with buttons to switch to a standby and to end it. */
export class StandbyList {
  #name;
  #element;
  #actions;
  /** The shown items, by the number of the standby, or the name of the node that has some. */
  #items = new Map();

  /**
   * @param {string} name the stream
   * @param {HTMLElement} element the part of the page that shows them
   * @param {object} actions
   * @param {(method: string, path: string) => Promise<boolean>} actions.act sends a request
   * @param {(question: string, word: string) => Promise<boolean>} actions.confirm asks the user
   */
  constructor(name, element, actions) {
    this.#name = name;
    this.#element = element;
    this.#actions = actions;
  }

  /** The number of items that are shown. */
  get size() {
    return this.#items.size;
  }

  /** Shows the publishers of the stream; nothing if none stands by. */
  show({ publisher, standbys, standby_nodes: nodes = [] }) {
    this.#element.hidden = standbys.length + nodes.length === 0;
    const active = publisher.id === null ? "nobody; a standby takes over with its next keyframe" : nameOf(publisher);
    setText(this.#element.querySelector(".active-publisher"), active);
    const ids = new Set([...standbys.map(({ id }) => id), ...nodes.map(({ node }) => node)]);
    for (const [id, item] of this.#items) if (!ids.has(id)) item.remove();
    this.#items = new Map([
      ...standbys.map((standby) => [standby.id, this.#items.get(standby.id) ?? this.#itemOf(standby)]),
      ...nodes.map(({ node }) => [node, this.#items.get(node) ?? this.#itemOfNode(node)]),
    ]);
    for (const standby of standbys) {
      const item = this.#items.get(standby.id);
      setText(item.querySelector("span"), describe(standby));
      item.querySelector(".promote").disabled = standby.next;
    }
    for (const { node, standbys: count, ready } of nodes) {
      const item = this.#items.get(node);
      const words = [`node ${node}`, `${count} ${count === 1 ? "standby" : "standbys"}`];
      if (!ready) words.push("no keyframe yet");
      setText(item.querySelector("span"), words.join(" · "));
      // Without a number, those of this node come first.
      item.querySelector(".promote").disabled = !ready || standbys.length > 0;
    }
    // Items that are there stay, and with them the focus.
    const missing = [...this.#items.values()].filter((item) => !item.isConnected);
    this.#element.querySelector("ul").append(...missing);
  }

  #itemOfNode(node) {
    const path = `api/publishers/${pathOf(this.#name)}`;
    const name = `Switch to a standby of the node ${node}`;
    return make(
      "li",
      {},
      make("span"),
      button("Switch", () => this.#actions.act("POST", path), { className: "promote", name }),
    );
  }

  #itemOf(standby) {
    const path = `api/publishers/${pathOf(this.#name)}?id=${standby.id}`;
    const who = nameOf(standby);
    const { act, confirm } = this.#actions;
    const end = async () => {
      const question = `End the standby ${who} of ${this.#name}? Most encoders reconnect by themselves.`;
      if (await confirm(question, "End standby")) act("DELETE", path);
    };
    return make(
      "li",
      {},
      make("span"),
      button("Switch", () => act("POST", path), {
        className: "promote",
        name: `Switch to the standby ${who}`,
      }),
      button("End…", end, { className: "danger", name: `End the standby ${who}` }),
    );
  }
}

/** Names a publisher by its address and encoder. */
function nameOf({ address, encoder }) {
  return [address ?? "pulled", encoder].filter(Boolean).join(" · ");
}

/** Describes a standby. */
function describe(standby) {
  const { video, audio, connected_seconds, silent_seconds, next } = standby;
  const words = [nameOf(standby)];
  if (video) words.push(`${video.codec} ${video.width}×${video.height}`, rate(video.bitrate_bps));
  if (video?.gop) words.push(`keyframe every ${video.gop.seconds.toFixed(1)} s`);
  if (audio) words.push(audio.codec);
  if (silent_seconds >= SILENT_AFTER) words.push(`silent for ${age(Math.floor(silent_seconds))}`);
  words.push(`for ${age(connected_seconds)}`);
  if (next) words.push("takes over with its next keyframe");
  return words.join(" · ");
}
