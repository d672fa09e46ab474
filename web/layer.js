/** The layer of a session: the video layer selection extension of WHEP. */

import { linkTo } from "./events.js";

/** The relation of the extension in a `Link` header. */
const RELATION = "urn:ietf:params:whep:ext:core:layer";

/** Least milliseconds between two selections: an element may change its size all the time. */
const INTERVAL = 1_000;

/**
 * Selects the renditions of a session. If the gateway does not support that, nothing happens.
 *
 * A selection is `{ rid, maxHeight, shownHeight }`: the id of a rendition, the most pixels of height,
 * and the height at which the video is shown; members that are missing leave the choice to the
 * gateway.
 */
export class Layer {
  #url;
  #headers;
  #wanted = "{}";
  #sent = "{}";
  #timer = null;

  /**
   * @param {string} link the `Link` headers of the session
   * @param {string} base the URL that they are relative to
   * @param {object} headers of the requests, such as their authorization
   */
  constructor(link, base, headers) {
    this.#url = linkTo(RELATION, link, base);
    this.#headers = headers;
  }

  /** Sends a selection, or the newest of several within a second. */
  select(selection) {
    this.#wanted = JSON.stringify(selection);
    if (this.#url && this.#timer === null) this.#send();
  }

  close() {
    this.#url = null;
    clearTimeout(this.#timer);
  }

  #send() {
    this.#timer = null;
    if (!this.#url || this.#wanted === this.#sent) return;
    this.#sent = this.#wanted;
    const headers = { ...this.#headers, "Content-Type": "application/json" };
    fetch(this.#url, { method: "POST", headers, body: this.#sent }).catch(() => {});
    this.#timer = setTimeout(() => this.#send(), INTERVAL);
  }
}
