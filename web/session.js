/** A WHEP session (draft-ietf-wish-whep): an offer, an answer, a connection. */

import { atNode } from "./endpoint.js";
import { SessionEvents, entryOf, linksTo } from "./events.js";
import { Layer } from "./layer.js";
import { confirm } from "./prepared.js";

/** Milliseconds until the gateway has to answer an offer. */
const ANSWER_TIMEOUT = 10_000;
/** Maximum of `Retry-After`, in seconds. */
const MAX_PAUSE = 60;
/** Pause after a response that is unlikely to change soon, in seconds. */
const HOPELESS_PAUSE = 30;
/** Name of the data channel for messages of the publisher. */
const CHANNEL = "events";
/** RTP header extension with the capture time of a frame. */
const CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/** A session. It is used once. */
export class Session {
  /** The received tracks. */
  media = new MediaStream();
  /** STUN and TURN servers that the gateway announced (`RTCIceServer`), known after its answer. */
  iceServers = [];
  /** WHEP endpoints of the same stream at other gateways (`URL`), known after the answer. */
  alternates = [];
  #endpoint;
  #token;
  #prepared;
  #options;
  #connection = null;
  #abort = new AbortController();
  #location = null;
  #onEvent;
  #events = null;
  #layer = null;
  #selection = null;
  #closed = false;
  /** When it began, and when its first frame was shown (`at`), by the clock of the page. */
  #began = performance.now();
  #shown = { at: null };
  #answeredAt = null;
  /** The report of a failure, until the gateway has it. */
  #reported = Promise.resolve();

  /**
   * @param {URL} endpoint the WHEP endpoint
   * @param {object} options
   * @param {string | null} options.token sent as a bearer token
   * @param {RTCIceServer[]} options.iceServers STUN and TURN servers
   * @param {((message: object) => void) | null} options.onData receives messages of the data channel,
   *   which is opened only if this is set
   * @param {((kind: string, data: object) => void) | null} options.onEvent receives the gateway's
   *   events, which are requested only if this is set
   * @param {object | null} options.prepared a session that came with the page, see `prepared.js`
   */
  constructor(endpoint, options = {}) {
    const { token = null, onEvent = null, prepared = null } = options;
    this.#endpoint = endpoint;
    this.#token = token;
    this.#options = options;
    this.#prepared = prepared;
    this.#onEvent = onEvent;
    if (prepared) {
      this.media = prepared.media;
      this.#connection = prepared.connection;
      this.#began = performance.getEntriesByType("navigation")[0]?.responseEnd ?? 0;
      this.#shown = prepared.shown;
    } else {
      this.#connect();
    }
  }

  #connect() {
    const { iceServers = [], onData = null } = this.#options;
    this.#connection = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers });
    this.#connection.ontrack = ({ track }) => this.media.addTrack(track);
    if (onData) {
      const channel = this.#connection.createDataChannel(CHANNEL);
      channel.onmessage = ({ data }) => onData(JSON.parse(data));
    }
  }

  /**
   * Whether the connection has failed or the gateway has closed it. A DTLS closing alert is visible
   * only in the transport: Chromium leaves the connection "connected".
   */
  get lost() {
    const states = this.#connection.getReceivers().map(({ transport }) => transport?.state);
    return [this.#connection.connectionState, ...states].some(
      (state) => state === "failed" || state === "closed",
    );
  }

  /** Whether the connection is established, with or without media. */
  get connected() {
    return this.#connection.connectionState === "connected";
  }

  /** Returns the statistics of the connection (`RTCStatsReport`). */
  getStats() {
    return this.#connection.getStats();
  }

  /**
   * The capture time of the last shown frame by the gateway's clock, in milliseconds since 1970;
   * `null` if the browser does not report it.
   */
  get capturedAt() {
    const receiver = this.#connection.getReceivers().find(({ track }) => track.kind === "video");
    const captured = receiver?.getSynchronizationSources?.()[0]?.captureTimestamp;
    return captured === undefined ? null : captured - NTP_TO_UNIX;
  }

  /** Notes when `video`, which plays the media, shows the first frame. */
  followFirstFrame(video) {
    const shown = this.#shown;
    if (shown.at === null) {
      video.requestVideoFrameCallback?.((now) => {
        shown.at ??= now;
      });
    }
  }

  /**
   * The milliseconds from the start of the session to the first frame; `null` before, and if the
   * browser does not tell.
   */
  get firstFrame() {
    return this.#shown.at === null ? null : this.#shown.at - this.#began;
  }

  /** The WHEP endpoint. */
  get endpoint() {
    return this.#endpoint;
  }

  /**
   * Puts the tracks into the media of another session, in the place of its own: a video that plays them
   * keeps its last frame until the next one.
   */
  takeOver({ media }) {
    const before = media.getTracks();
    for (const track of this.media.getTracks()) media.addTrack(track);
    for (const track of before) media.removeTrack(track);
    this.media = media;
  }

  /** Connects. Throws a `PlayError` with a message for the viewer when the gateway refuses. */
  async open() {
    if (!this.#prepared) return this.#negotiate();
    const response = await confirm(this.#prepared);
    if (response) this.#location = new URL(response.url);
    if (this.#closed) return this.#release();
    if (response) return this.#follow(response.headers.get("Link") ?? "", response.url);
    // Too late, or refused: this player asks as all others do.
    this.media = new MediaStream();
    this.#shown = { at: null };
    this.#connect();
    return this.#negotiate();
  }

  /** Sends an offer, which the gateway answers. */
  async #negotiate() {
    const offer = await this.#offer();
    const timeout = setTimeout(() => this.#abort.abort(), ANSWER_TIMEOUT);
    try {
      let response = await this.#post(this.#endpoint, offer);
      // Browsers remove the token from a request that is redirected to another origin.
      if (response.redirected && response.status === 401 && this.#token) {
        response = await this.#post(response.url, offer);
      }
      if (response.status === 503) response = await this.#postElsewhere(response, offer);
      if (response.status !== 201) throw await PlayError.from(response, this.#isKeySent());
      // After a redirect, the session is at the origin of the response.
      this.#location = new URL(response.headers.get("Location"), response.url);
      const link = response.headers.get("Link") ?? "";
      const sdp = await response.text();
      if (this.#closed) return this.#release();
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
      this.#follow(link, response.url);
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Selects a rendition, see `Layer`. */
  select(selection) {
    this.#selection = selection;
    this.#layer?.select(selection);
  }

  /** Follows the `Link` headers of the session: ICE servers, layer and events. */
  #follow(link, url) {
    this.#answeredAt = performance.now();
    this.iceServers = iceServersOf(link);
    this.alternates = linksTo("alternate", link, url);
    this.#layer = new Layer(link, url, this.#authorization());
    if (this.#selection) this.#layer.select(this.#selection);
    if (!this.#onEvent) return;
    this.#events = new SessionEvents(entryOf(link, url), this.#authorization(), this.#onEvent);
  }

  /**
   * Asks the gateway about the stream. Returns its `state`: `live`, `offline` or `ended`, else `null`; and
   * in `missing`, `video` and `audio` that the publisher sends and viewers cannot get.
   */
  async streamState() {
    const options = { headers: this.#authorization(), signal: this.#abort.signal };
    const response = this.#location && (await fetch(this.#location, options).catch(() => null));
    const missing = response?.headers.get("Stream-Missing")?.split(", ") ?? [];
    return { state: response?.headers.get("Stream-State") ?? null, missing };
  }

  /**
   * Reports to the gateway that the connection did not come about, so that its operator learns of a
   * media port that cannot be reached.
   *
   * @param {RTCStatsReport} stats the statistics of the connection
   */
  reportFailure(stats) {
    if (!this.#location || this.connected) return;
    const report = {
      ice: this.#connection.iceConnectionState,
      seconds: (performance.now() - this.#answeredAt) / 1000,
      pairs: pairsOf(stats),
    };
    // A simple request, which needs no preflight at another origin.
    const request = { method: "POST", mode: "no-cors", keepalive: true, body: JSON.stringify(report) };
    this.#reported = fetch(`${this.#location}/failure`, request).catch(() => {});
  }

  /** Closes the connection and frees the session at the gateway. */
  close() {
    this.#closed = true;
    this.#abort.abort();
    this.#connection.close();
    this.#events?.close();
    this.#layer?.close();
    this.#release();
  }

  /**
   * Sends an offer to the alternates of a gateway that admits no viewers: it cannot redirect pages of other
   * sites, see `docs/cluster.md`. Returns the first response that accepts it, else that of the gateway.
   */
  async #postElsewhere(refusal, offer) {
    for (const alternate of linksTo("alternate", refusal.headers.get("Link") ?? "", refusal.url)) {
      const response = await this.#post(atNode(alternate, this.#endpoint), offer).catch(() => null);
      if (response?.status === 201) return response;
      this.#abort.signal.throwIfAborted();
    }
    return refusal;
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
      // If the browser rejects the changed offer, the original one works too.
      await this.#connection.setLocalDescription({ type: "offer", sdp });
    }
    // No need to wait for candidates: the gateway learns this end from its connectivity checks.
    return this.#connection.localDescription.sdp;
  }

  #release() {
    if (!this.#location) return;
    // `keepalive` lets the request outlive the page. If it fails, the gateway detects the end
    // itself.
    const request = { method: "DELETE", headers: this.#authorization(), keepalive: true };
    const location = this.#location;
    this.#location = null;
    this.#reported.then(() => fetch(location, request)).catch(() => {});
  }

  #isKeySent() {
    return this.#token !== null || new URL(this.#endpoint).searchParams.has("token");
  }

  #authorization() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }
}

/** Milliseconds from 1900, the NTP epoch, to 1970. */
const NTP_TO_UNIX = 2_208_988_800_000;

/**
 * Adds to an offer what browsers do not offer by default: Opus in stereo, which they decode only if
 * their own description says so, and the capture time of each frame.
 */
function wishes(sdp) {
  const stereo = sdp.replaceAll(/^a=fmtp:.*useinbandfec=1.*$/gm, (line) =>
    line.includes("stereo=1") ? line : line.replace("useinbandfec=1", "useinbandfec=1;stereo=1"),
  );
  const used = new Set([...sdp.matchAll(/^a=extmap:(\d+)/gm)].map(([, id]) => Number(id)));
  const free = [...Array(14).keys()].map((at) => at + 1).find((id) => !used.has(id));
  if (sdp.includes(CAPTURE_TIME) || free === undefined) return stereo;
  // Only in media sections. With BUNDLE an id means the same in all sections that have it (RFC 8843
  // section 9.2).
  const sections = stereo.split(/^(?=m=)/m);
  return sections
    .map((section) => {
      const isMedia = /^m=(audio|video) /.test(section);
      return isMedia ? section.replace(/^a=mid:.*\r\n/m, `$&a=extmap:${free} ${CAPTURE_TIME}\r\n`) : section;
    })
    .join("");
}

/** Maximum number of candidate pairs in a report. */
const MAX_REPORTED = 12;

/** Returns the candidate pairs that a connection has tried, for a report. */
function pairsOf(stats) {
  const pairs = [];
  for (const pair of stats.values()) {
    if (pair.type !== "candidate-pair" || pairs.length >= MAX_REPORTED) continue;
    const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    if (!local || !remote?.address) continue;
    pairs.push({
      local: local.candidateType,
      protocol: remote.protocol,
      address: remote.address,
      port: remote.port,
      state: pair.state,
      sent: pair.requestsSent ?? 0,
      answered: pair.responsesReceived ?? 0,
    });
  }
  return pairs;
}

/** Returns the servers in `Link` headers (RFC 9725 section 4.6) as `RTCIceServer`. */
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

/** An error that prevents playback. Its message is for the log, its text for the viewer. */
export class PlayError extends Error {
  /** State of the player after this error. */
  state;
  /** Message for the viewer. */
  text;
  /** HTTP status of the response, if there was one. */
  status = null;
  /** Seconds until a retry makes sense, if known. */
  pause = null;

  /** Creates an error of a kind of `KINDS`. */
  constructor(kind, message) {
    super(message);
    [this.state, this.text] = KINDS[kind];
  }

  /** Creates the error for a response; `isKeySent` if the request had a token. */
  static async from(response, isKeySent) {
    const detail = await problemDetail(response);
    const kind = response.status === 401 && isKeySent ? "wrongKey" : (STATUSES[response.status] ?? "busy");
    const error = new PlayError(kind, `${response.status}: ${detail}`);
    if (kind === "unknown" || kind === "address") {
      // For the author of the page.
      console.warn(
        `distributary-player: ${response.url} answers ${error.message}. The src of a player is the WHEP ` +
          "endpoint of a stream, such as https://gateway.example/whep/live/test",
      );
    }
    error.status = response.status;
    error.pause = retryAfter(response) ?? (response.status < 500 ? HOPELESS_PAUSE : null);
    return error;
  }
}

/** State and text of each kind of error. */
const KINDS = {
  reconnecting: ["retrying", "Reconnecting…"],
  blocked: ["retrying", "No video arrives: your network may block it. Trying again…"],
  busy: ["retrying", "The stream cannot be played right now. Trying again…"],
  full: ["retrying", "There is no free place right now. Trying again…"],
  often: ["retrying", "Too many attempts. Trying again in a while…"],
  forbidden: ["retrying", "You are not allowed to watch this stream here."],
  unknown: ["retrying", "There is no such stream."],
  address: ["retrying", "The address of the player is not that of a stream."],
  key: ["locked", "This stream needs a password or key."],
  wrongKey: ["locked", "This password or key is wrong, or no longer valid."],
  unsupported: [
    "unsupported",
    "This browser cannot play this stream. Chrome, Edge, Safari and Firefox can, in their current versions.",
  ],
};

/** Kinds of errors by status. */
const STATUSES = {
  200: "address",
  401: "key",
  403: "forbidden",
  404: "unknown",
  405: "address",
  406: "unsupported",
  422: "unsupported",
  429: "often",
  503: "full",
};

/** Returns why this browser can play no stream at all; `null` if it may. */
export function missingSupport() {
  if (globalThis.RTCPeerConnection) return null;
  return "This browser has no WebRTC, or it is switched off. Chrome, Edge, Safari and Firefox have it.";
}

/** Returns the `detail` of a problem document (RFC 9457), or the status. */
async function problemDetail(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("application/problem+json")) {
    const problem = await response.json().catch(() => null);
    if (problem?.detail) return problem.detail;
  }
  return `status ${response.status}`;
}

/** Returns the seconds of `Retry-After`, in either of its two forms (RFC 9110 section 10.2.3). */
function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), MAX_PAUSE) : null;
}
