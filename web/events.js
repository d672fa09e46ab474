/** The events of a session: the server-sent events extension of WHEP. */

import { toUrl } from "./endpoint.js";

/** The relation of the extension in a `Link` header. */
const RELATION = "urn:ietf:params:whep:ext:core:server-sent-events";

/** The kinds of events that a player uses. */
const KINDS = ["active", "inactive", "viewercount", "reconnect", "layers"];

/**
 * Listens to the events of a session until `close()`. If the gateway does not support events, or
 * refuses, the player plays without them.
 */
export class SessionEvents {
  #source = null;
  #closed = false;

  /**
   * @param {URL | null} entry the URL of the extension, see `entryOf`
   * @param {object} headers of the request, such as its authorization
   * @param {(kind: string, data: object) => void} onEvent
   */
  constructor(entry, headers, onEvent) {
    if (entry) this.#listen(entry, headers, onEvent).catch(() => {});
  }

  close() {
    this.#closed = true;
    this.#source?.close();
  }

  async #listen(entry, headers, onEvent) {
    const response = await fetch(entry, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify(KINDS),
    });
    if (response.status !== 201 || this.#closed) return;
    this.#source = new EventSource(new URL(response.headers.get("Location"), response.url));
    for (const kind of KINDS) {
      this.#source.addEventListener(kind, ({ data }) => onEvent(kind, JSON.parse(data)));
    }
  }
}

/** Returns the URL of the extension from the `Link` headers of a response from `base`. */
export function entryOf(link, base) {
  return linkTo(RELATION, link, base);
}

/** Returns the URL of a relation from the `Link` headers of a response from `base`, or `null`. */
export function linkTo(relation, link, base) {
  return linksTo(relation, link, base)[0] ?? null;
}

/** Returns all URLs of a relation from the `Link` headers of a response from `base`; skips what is no URL. */
export function linksTo(relation, link, base) {
  const links = [...link.matchAll(/<([^>]*)>([^<]*)/g)].filter(([, , rest]) => rest.includes(`rel="${relation}"`));
  return links.map(([, path]) => toUrl(path, base)).filter((url) => url !== null);
}
