/** The events of a session: the server-sent events extension of WHEP. */

/** The relation by which the gateway names where to ask for them. */
const RELATION = "urn:ietf:params:whep:ext:core:server-sent-events";

/** What a player can make use of. */
const KINDS = ["active", "inactive", "viewercount", "reconnect", "notice"];

/**
 * Listens to the events of a session until `close()`. A gateway without them, or with too many who listen, is
 * no reason not to play: then nothing is told.
 */
export class SessionEvents {
  #source = null;
  #closed = false;

  /**
   * @param {URL | null} entry where to ask, see `entryOf`
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

/** Where to ask for events, by the `Link` headers of an answer that came from `base`. */
export function entryOf(link, base) {
  for (const [, path, rest] of link.matchAll(/<([^>]*)>([^<]*)/g)) {
    if (rest.includes(`rel="${RELATION}"`)) return new URL(path, base);
  }
  return null;
}
