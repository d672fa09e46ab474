/**
 * A WHEP player (draft-ietf-wish-whep) that never gives up: it connects, watches over the media, and
 * connects again when the stream is not there yet, goes away or falls silent.
 */

/** Milliseconds between two looks at the statistics: while media is awaited, and then. */
const WATCH_INTERVALS = { start: 50, live: 500 };
/** Silence that is worth a word, in milliseconds. */
const SILENCE_NOTICED = 2_000;
/** Without one packet for so long, in milliseconds, a session whose path is cut is given up. */
const SILENCE_CUT = 6_000;
/**
 * The same while the path stands, in milliseconds. Then it is the publisher that is silent: the
 * gateway holds the session for a while, so that the stream can go on in it.
 */
const SILENCE_CONNECTED = 20_000;
/** With packets but without one new picture for so long, in milliseconds, a new start is tried. */
const FREEZE_DEAD = 20_000;
/** Milliseconds a new session may take to its first media. */
const CONNECT_TIMEOUT = 10_000;
/** Milliseconds the gateway may take to answer an offer. */
const ANSWER_TIMEOUT = 10_000;
/** Pauses between attempts that fail in a row, in seconds. */
const BACKOFF = [1, 2, 4, 8, 10];
/** Longest pause the gateway can ask for, in seconds. */
const MAX_PAUSE = 60;
/** Pause after an answer that asking again is unlikely to change, in seconds. */
const HOPELESS_PAUSE = 30;

/**
 * Plays one stream into a video element.
 *
 * Fires `statechange`, whose `detail` is `{ state, text }`:
 *
 * - `connecting`: an offer is on its way, or media is awaited;
 * - `live`: pictures (or sound) advance;
 * - `stalled`: connected, but nothing new comes;
 * - `waiting`: the stream is not live; asked again soon;
 * - `retrying`: something went wrong, `text` says what; tried again soon;
 * - `stopped`: after `stop()`.
 */
export class Player extends EventTarget {
  #video;
  #endpoint;
  #session = null;
  #timer = null;
  #failures = 0;
  #wasLive = false;
  #state = { state: "stopped", text: "Stopped" };

  /**
   * @param {HTMLVideoElement} video plays the stream
   * @param {string} endpoint URL of the stream's WHEP endpoint
   */
  constructor(video, endpoint) {
    super();
    this.#video = video;
    this.#endpoint = new URL(endpoint, location.href);
  }

  /** What the player is doing now: `{ state, text }`. */
  get state() {
    return this.#state;
  }

  /** Statistics of the connection (`RTCStatsReport`), or `null` while there is none. */
  async stats() {
    return this.#session ? this.#session.stats() : null;
  }

  /** Starts to play, or tries again at once. Does nothing while a session is up. */
  start() {
    if (this.#session) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Stops and tells the gateway, also while the page is being left. */
  stop() {
    clearTimeout(this.#timer);
    this.#endSession();
    this.#failures = 0;
    this.#enter("stopped", "Stopped");
  }

  async #connect() {
    const session = new Session(this.#endpoint);
    this.#session = session;
    if (!this.#wasLive || this.#failures > 0) {
      this.#enter("connecting", this.#connectingText());
    }
    try {
      await session.open();
      if (this.#session !== session) return;
      this.#video.srcObject = session.media;
      this.#play();
      this.#watch(session, new Progress());
    } catch (error) {
      if (this.#session === session) this.#retry(error);
    }
  }

  #connectingText() {
    const { state, text } = this.#state;
    // A viewer who waits should not see the words flicker at each attempt.
    return state === "waiting" || state === "retrying" ? text : "Connecting…";
  }

  async #play() {
    try {
      await this.#video.play();
    } catch (error) {
      // Sound needs a gesture first: without one, better a silent picture than none.
      if (error.name === "NotAllowedError" && !this.#video.muted) {
        this.#video.muted = true;
        this.#video.play().catch(() => {});
      }
    }
  }

  /** Looks at a session again and again until it is over. */
  #watch(session, progress) {
    this.#timer = setTimeout(async () => {
      const report = await session.stats();
      if (this.#session !== session) return;
      progress.update(report, performance.now());
      const problem = this.#judge(session, progress);
      if (problem) this.#retry(problem);
      else this.#watch(session, progress);
    }, progress.started ? WATCH_INTERVALS.live : WATCH_INTERVALS.start);
  }

  /** Words for the state of a session; returns an error when it is past hope. */
  #judge(session, progress) {
    const { silent, frozen } = progress;
    const seconds = (millis) => Math.round(millis / 1000);
    if (session.lost) return new PlayError("Connection lost, reconnecting…");
    if (!progress.started) {
      if (silent < CONNECT_TIMEOUT) return null;
      return new PlayError(
        `No media within ${seconds(CONNECT_TIMEOUT)} s: the network may block UDP. Trying again…`,
      );
    }
    if (silent >= (session.connected ? SILENCE_CONNECTED : SILENCE_CUT)) {
      return new PlayError(`No media for ${seconds(silent)} s, reconnecting…`);
    }
    if (frozen >= FREEZE_DEAD) {
      return new PlayError(`No new picture for ${seconds(frozen)} s, reconnecting…`);
    }
    if (silent >= SILENCE_NOTICED) {
      this.#enter("stalled", `No media for ${seconds(silent)} s`);
    } else if (frozen >= SILENCE_NOTICED) {
      this.#enter("stalled", `No new picture for ${seconds(frozen)} s`);
    } else {
      this.#failures = 0;
      this.#wasLive = true;
      this.#enter("live", "Live");
    }
    return null;
  }

  /** Gives the session up and plans the next attempt. */
  #retry(error) {
    this.#endSession();
    const backoff = BACKOFF[Math.min(this.#failures, BACKOFF.length - 1)];
    this.#failures += 1;
    const pause = error.pause ?? backoff;
    if (error.status === 409) {
      const text = this.#wasLive
        ? "The stream has ended. Waiting for it to come back…"
        : "The stream is not live yet. Trying again…";
      this.#enter("waiting", text);
    } else {
      this.#enter("retrying", error instanceof PlayError ? error.message : describe(error));
    }
    // Spread out, so that a thousand pages do not ask in the same instant.
    const millis = pause * 1000 * (1 + Math.random() / 5);
    this.#timer = setTimeout(() => this.#connect(), millis);
  }

  #endSession() {
    this.#session?.close();
    this.#session = null;
  }

  #enter(state, text) {
    if (this.#state.state === state && this.#state.text === text) return;
    this.#state = { state, text };
    this.dispatchEvent(new CustomEvent("statechange", { detail: this.#state }));
  }
}

/** One WHEP session: an offer, an answer, a connection. */
class Session {
  /** The tracks as they come. */
  media = new MediaStream();
  #endpoint;
  #connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  #abort = new AbortController();
  #location = null;
  #closed = false;

  constructor(endpoint) {
    this.#endpoint = endpoint;
    this.#connection.ontrack = ({ track }) => this.media.addTrack(track);
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

  stats() {
    return this.#connection.getStats();
  }

  /** Connects; throws a `PlayError` in the viewer's words when the gateway refuses. */
  async open() {
    const offer = await this.#offer();
    const timeout = setTimeout(() => this.#abort.abort(), ANSWER_TIMEOUT);
    try {
      const response = await fetch(this.#endpoint, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: offer,
        signal: this.#abort.signal,
      });
      if (response.status !== 201) throw await PlayError.from(response);
      this.#location = new URL(response.headers.get("Location"), this.#endpoint);
      const sdp = await response.text();
      if (this.#closed) return this.#release();
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Closes the connection and frees the session at the gateway. */
  close() {
    this.#closed = true;
    this.#abort.abort();
    this.#connection.close();
    this.#release();
  }

  async #offer() {
    for (const kind of ["audio", "video"]) {
      this.#connection.addTransceiver(kind, { direction: "recvonly" });
    }
    const offer = await this.#connection.createOffer();
    // Browsers decode Opus in stereo only if their own description says so.
    offer.sdp = offer.sdp.replaceAll("useinbandfec=1", "useinbandfec=1;stereo=1");
    await this.#connection.setLocalDescription(offer);
    // No candidates are awaited: the gateway learns this end from its connectivity checks.
    return this.#connection.localDescription.sdp;
  }

  #release() {
    if (!this.#location) return;
    // `keepalive` lets the request outlive the page. Where it fails, the gateway notices by itself.
    fetch(this.#location, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#location = null;
  }
}

/** What has come so far, and for how long nothing has. */
class Progress {
  /** Whether anything was shown or heard yet. */
  started = false;
  /** Milliseconds since the last packet. */
  silent = 0;
  /** Milliseconds since the last new picture; 0 for sound alone and while the page is hidden. */
  frozen = 0;
  #packets = 0;
  #frames = 0;
  #packetsAt = performance.now();
  #framesAt = performance.now();

  update(report, now) {
    const { packets, frames, hasVideo } = totals(report);
    if (packets !== this.#packets) this.#packetsAt = now;
    // Browsers may stop decoding what nobody sees.
    if (frames !== this.#frames || !hasVideo || document.hidden) this.#framesAt = now;
    this.#packets = packets;
    this.#frames = frames;
    this.started ||= hasVideo ? frames > 0 : packets > 0;
    this.silent = now - this.#packetsAt;
    this.frozen = now - this.#framesAt;
  }
}

function totals(report) {
  const sum = { packets: 0, frames: 0, hasVideo: false };
  for (const stats of report.values()) {
    if (stats.type !== "inbound-rtp") continue;
    sum.packets += stats.packetsReceived ?? 0;
    sum.frames += stats.framesDecoded ?? 0;
    sum.hasVideo ||= stats.kind === "video" && stats.packetsReceived > 0;
  }
  return sum;
}

/** Why playing failed, in words for the viewer. */
class PlayError extends Error {
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
  400: "The gateway does not understand this browser's offer",
  401: "This stream needs a permission",
  403: "This stream may not be watched from here",
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

/** Words for an error that is not the gateway's answer. */
function describe(error) {
  if (error.name === "AbortError" || error instanceof TypeError) {
    return "The gateway does not answer. Trying again…";
  }
  return `${error.message}. Trying again…`;
}
