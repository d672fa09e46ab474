/** One WHEP session (draft-ietf-wish-whep): an offer, an answer, a connection. */

import { SessionEvents, entryOf } from "./events.js";

/** Milliseconds the gateway may take to answer an offer. */
const ANSWER_TIMEOUT = 10_000;
/** Longest pause the gateway can ask for, in seconds. */
const MAX_PAUSE = 60;
/** Pause after an answer that asking again is unlikely to change, in seconds. */
const HOPELESS_PAUSE = 30;
/** Name of the data channel on which the gateway says what the publisher says. */
const CHANNEL = "events";
/** Header extension that tells when a picture was captured. */
const CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/** A session that plays, or tries to. It is used once. */
export class Session {
  /** The tracks as they come. */
  media = new MediaStream();
  /** STUN and TURN servers that the gateway has named (`RTCIceServer`), known once it has answered. */
  iceServers = [];
  #endpoint;
  #token;
  #connection;
  #abort = new AbortController();
  #location = null;
  #onEvent;
  #events = null;
  #closed = false;

  /**
   * @param {URL} endpoint the WHEP endpoint
   * @param {object} options
   * @param {string | null} options.token sent as a bearer token
   * @param {RTCIceServer[]} options.iceServers STUN and TURN servers
   * @param {((message: object) => void) | null} options.onData takes what comes on a data channel, which is
   *   opened only if this is there
   * @param {((kind: string, data: object) => void) | null} options.onEvent takes the gateway's events, which
   *   are listened to only if this is there
   */
  constructor(endpoint, { token = null, iceServers = [], onData = null, onEvent = null } = {}) {
    this.#endpoint = endpoint;
    this.#token = token;
    this.#onEvent = onEvent;
    this.#connection = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers });
    this.#connection.ontrack = ({ track }) => this.media.addTrack(track);
    if (onData) {
      const channel = this.#connection.createDataChannel(CHANNEL);
      channel.onmessage = ({ data }) => onData(JSON.parse(data));
    }
  }

  /**
   * Whether the connection has failed or was closed by the gateway. A closing alert of DTLS shows at
   * the transport alone: Chromium leaves the connection "connected".
   */
  get lost() {
    const states = this.#connection.getReceivers().map(({ transport }) => transport?.state);
    return [this.#connection.connectionState, ...states].some(
      (state) => state === "failed" || state === "closed",
    );
  }

  /** Whether packets can come, whether or not they do. */
  get connected() {
    return this.#connection.connectionState === "connected";
  }

  /** Statistics of the connection (`RTCStatsReport`). */
  stats() {
    return this.#connection.getStats();
  }

  /**
   * When the picture that was shown last was captured, by the gateway's clock: milliseconds since 1970, or
   * `null` where the browser does not tell.
   */
  get capturedAt() {
    const receiver = this.#connection.getReceivers().find(({ track }) => track.kind === "video");
    const captured = receiver?.getSynchronizationSources?.()[0]?.captureTimestamp;
    return captured === undefined ? null : captured - NTP_TO_UNIX;
  }

  /** Connects; throws a `PlayError` in the viewer's words when the gateway refuses. */
  async open() {
    const offer = await this.#offer();
    const timeout = setTimeout(() => this.#abort.abort(), ANSWER_TIMEOUT);
    try {
      let response = await this.#post(this.#endpoint, offer);
      // Browsers take the token off a request that is sent on to another site.
      if (response.redirected && response.status === 401 && this.#token) {
        response = await this.#post(response.url, offer);
      }
      if (response.status !== 201) throw await PlayError.from(response);
      // After a redirect the session is where the answer came from.
      this.#location = new URL(response.headers.get("Location"), response.url);
      const link = response.headers.get("Link") ?? "";
      this.iceServers = iceServersOf(link);
      // What was asked for and does not come, although the stream has it.
      const [, missing] = /299 \S+ "(.*?)"/.exec(response.headers.get("Warning") ?? "") ?? [];
      const sdp = await response.text();
      if (this.#closed) return this.#release();
      if (missing) this.#onEvent?.("notice", { notice: missing });
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
      if (this.#onEvent) {
        const entry = entryOf(link, response.url);
        this.#events = new SessionEvents(entry, this.#authorization(), this.#onEvent);
      }
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Closes the connection and frees the session at the gateway. */
  close() {
    this.#closed = true;
    this.#abort.abort();
    this.#connection.close();
    this.#events?.close();
    this.#release();
  }

  #post(endpoint, offer) {
    return fetch(endpoint, {
      method: "POST",
      headers: { ...this.#authorization(), "Content-Type": "application/sdp" },
      body: offer,
      signal: this.#abort.signal,
    });
  }

  async #offer() {
    for (const kind of ["audio", "video"]) {
      this.#connection.addTransceiver(kind, { direction: "recvonly" });
    }
    const { sdp } = await this.#connection.createOffer();
    try {
      await this.#connection.setLocalDescription({ type: "offer", sdp: wishes(sdp) });
    } catch {
      // A browser that takes no changed offers plays all the same.
      await this.#connection.setLocalDescription({ type: "offer", sdp });
    }
    // No candidates are awaited: the gateway learns this end from its connectivity checks.
    return this.#connection.localDescription.sdp;
  }

  #release() {
    if (!this.#location) return;
    // `keepalive` lets the request outlive the page. Where it fails, the gateway notices by itself.
    const request = { method: "DELETE", headers: this.#authorization(), keepalive: true };
    fetch(this.#location, request).catch(() => {});
    this.#location = null;
  }

  #authorization() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }
}

/** Milliseconds from 1900, where NTP begins to count, to 1970. */
const NTP_TO_UNIX = 2_208_988_800_000;

/**
 * The offer with what browsers do not ask for by themselves: Opus in stereo, which they decode only if
 * their own description says so, and the moment of capture of each picture.
 */
function wishes(sdp) {
  const stereo = sdp.replaceAll(/^a=fmtp:.*useinbandfec=1.*$/gm, (line) =>
    line.includes("stereo=1") ? line : line.replace("useinbandfec=1", "useinbandfec=1;stereo=1"),
  );
  const used = new Set([...sdp.matchAll(/^a=extmap:(\d+)/gm)].map(([, id]) => Number(id)));
  const free = [...Array(14).keys()].map((at) => at + 1).find((id) => !used.has(id));
  if (sdp.includes(CAPTURE_TIME) || free === undefined) return stereo;
  // In the sections of media alone. With BUNDLE an id means the same in all that have it (RFC 8843
  // section 9.2).
  const sections = stereo.split(/^(?=m=)/m);
  return sections
    .map((section) => {
      const isMedia = /^m=(audio|video) /.test(section);
      return isMedia ? section.replace(/^a=mid:.*\r\n/m, `$&a=extmap:${free} ${CAPTURE_TIME}\r\n`) : section;
    })
    .join("");
}

/** The servers in `Link` headers (RFC 9725 section 4.6), as `RTCPeerConnection` takes them. */
export function iceServersOf(link) {
  const servers = [];
  for (const [, urls, rest] of link.matchAll(/<([^>]*)>([^<]*)/g)) {
    const parameters = {};
    for (const [, name, value] of rest.matchAll(/;\s*([\w-]+)="?([^";,]*)"?/g)) parameters[name] = value;
    if (parameters.rel !== "ice-server") continue;
    const { username, credential } = parameters;
    servers.push(username === undefined ? { urls } : { urls, username, credential });
  }
  return servers;
}

/** Why playing failed, in words for the viewer. */
export class PlayError extends Error {
  /** HTTP status of the refusal, if it was one. */
  status = null;
  /** Seconds until it makes sense to try again, if known. */
  pause = null;

  static async from(response) {
    const detail = await problemDetail(response);
    const error = new PlayError(`${WORDS[response.status] ?? "The gateway refuses"}: ${detail}`);
    error.status = response.status;
    error.pause = retryAfter(response) ?? (response.status < 500 ? HOPELESS_PAUSE : null);
    return error;
  }
}

const WORDS = {
  401: "This stream requires a password or token",
  403: "You are not allowed to watch this stream here",
  404: "There is no such stream",
  406: "This browser cannot play the stream",
  422: "This browser cannot play the stream",
  429: "Too many attempts",
  503: "The gateway is full",
};

/** The `detail` of a problem document (RFC 9457), or the bare status. */
async function problemDetail(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("application/problem+json")) {
    const problem = await response.json().catch(() => null);
    if (problem?.detail) return problem.detail;
  }
  return `status ${response.status}`;
}

/** Seconds from `Retry-After`, either of its two forms (RFC 9110 section 10.2.3). */
function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), MAX_PAUSE) : null;
}
