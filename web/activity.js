/** Past events, streams that have ended, and blocks. */

import { ask } from "./admin.js";
import { button, make, setText } from "./elements.js";
import { age, count } from "./words.js";

/** Entries that are kept, as many as the gateway keeps. */
const KEPT = 200;
/** Entries that are shown at first. */
const SHOWN = 12;

/** The kinds of events in words. */
const KINDS = {
  published: "Published",
  ended: "Ended",
  standby: "Standing by",
  standby_ended: "Standby ended",
  takeover: "Takeover",
  refused: "Refused",
  join_failed: "Could not connect",
  advice: "Advice",
};

const find = (selector) => document.querySelector(selector);
const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DATE_AND_TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** The events of the journal, the newest first. */
export class Events {
  #entries = [];
  #isWhole = false;

  constructor() {
    find("#all-events").addEventListener("click", () => {
      this.#isWhole = !this.#isWhole;
      this.#render();
    });
  }

  /** Adds new entries, the oldest first. An entry that was repeated has a new number. */
  add(entries) {
    const isRepeated = (old) =>
      entries.some(
        (entry) =>
          entry.count > old.count && entry.kind === old.kind && entry.stream === old.stream &&
          entry.address === old.address && entry.detail === old.detail,
      );
    const known = new Set(entries.map(({ number }) => number));
    const kept = this.#entries.filter((old) => !known.has(old.number) && !isRepeated(old));
    this.#entries = [...kept, ...entries].slice(-KEPT);
    this.#render();
  }

  #render() {
    const newest = this.#entries.toReversed();
    const shown = this.#isWhole ? newest : newest.slice(0, SHOWN);
    find("#no-events").hidden = newest.length > 0;
    find("#events").replaceChildren(...shown.map(itemOf));
    const more = find("#all-events");
    more.hidden = newest.length <= SHOWN;
    setText(more, this.#isWhole ? "Show fewer" : `Show all ${newest.length}`);
  }
}

function itemOf({ time, kind, stream, address, detail, count }) {
  const what = make("b", { textContent: KINDS[kind] ?? kind, className: kind });
  const where = [stream, address && `from ${address}`].filter(Boolean).join(" ");
  const often = count > 1 ? ` (${count} times)` : "";
  const text = [where, detail].filter(Boolean).join(": ");
  const at = make("time", {
    dateTime: new Date(time * 1000).toISOString(),
    textContent: timeOf(new Date(time * 1000)),
  });
  return make("li", {}, at, what, make("span", { textContent: `${text}${often}` }));
}

/** Returns a time in words, with the date if it is not today. */
function timeOf(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return (isToday ? TIME : DATE_AND_TIME).format(date);
}

/** Shows the streams that have ended. */
export function showEnded(ended) {
  find("#ended-box").hidden = ended.length === 0;
  setText(find("#ended-count"), String(ended.length));
  const list = find("#ended");
  const items = ended.map(({ name, ended_seconds, reason, most_viewers }) => {
    const why = reason ?? "the reason is not known";
    return `${name}, ${age(ended_seconds)} ago: ${why}; ${watched(most_viewers)}`;
  });
  while (list.children.length > items.length) list.lastChild.remove();
  while (list.children.length < items.length) list.append(make("li"));
  for (const [at, text] of items.entries()) setText(list.children[at], text);
}

/** Returns in words how many viewers a stream had at its best time. */
function watched(most) {
  return most === 0 ? "nobody watched" : `${count(most, "viewer")} at most`;
}

/** The blocks, with buttons to remove them. */
export class Blocks {
  #act;
  /** The shown items, by the id of the block. */
  #items = new Map();

  /** @param {(method: string, path: string) => Promise<boolean>} act sends a request */
  constructor(act) {
    this.#act = act;
  }

  /** Requests the blocks and shows them. */
  async update() {
    const answer = await ask("GET", "api/blocks").catch(() => null);
    if (!answer) return;
    find("#blocks-box").hidden = answer.blocks.length === 0;
    const ids = new Set(answer.blocks.map(({ id }) => id));
    for (const [id, item] of this.#items) if (!ids.has(id)) item.remove();
    this.#items = new Map(
      answer.blocks.map((block) => [block.id, this.#items.get(block.id) ?? this.#itemOf(block)]),
    );
    for (const { id, seconds } of answer.blocks) {
      setText(this.#items.get(id).querySelector(".left"), age(seconds));
    }
    // Items that are there stay, and with them the focus.
    const missing = [...this.#items.values()].filter((item) => !item.isConnected);
    find("#blocks").append(...missing);
  }

  #itemOf({ id, viewer, publisher }) {
    const who = viewer ? `Viewers at ${viewer}` : `Publishers of ${publisher}`;
    // A block that is no longer there has ended by itself.
    const remove = () => this.#act("DELETE", `api/blocks/${id}`).finally(() => this.update());
    const text = make("span", { textContent: `${who}, for another ` }, make("span", { className: "left" }));
    return make("li", {}, text, button("Unblock", remove, { name: `Unblock: ${who}` }));
  }
}
