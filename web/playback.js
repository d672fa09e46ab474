/** Plays a stream by WHEP and never gives up: see `Player`. */

import { backoff, spread } from "./backoff.js";
import { withQuery } from "./endpoint.js";
import { LOOK_INTERVAL, Pulse } from "./failover.js";
import { Handover } from "./handover.js";
import { mediaOrLoad } from "./loading.js";
import { takePrepared } from "./prepared.js";
import { Progress } from "./progress.js";
import { measure } from "./stats.js";
import { PlayError, Session, missingSupport } from "./session.js";

/** Milliseconds between two checks of the statistics: before the first media, and after it. */
const WATCH_INTERVALS = { start: 50, live: 500 };
/** Milliseconds without media until the player says so. */
const SILENCE_NOTICED = 2_000;
/** Milliseconds without a packet until a session whose path is interrupted is given up. */
const SILENCE_CUT = 6_000;
/**
 * The same while the path works, in milliseconds. Then the publisher is silent: the gateway keeps
 * the session for a while, so that the stream can continue in it.
 */
const SILENCE_CONNECTED = 20_000;
/** Milliseconds with packets but without a new frame until the player reconnects. */
const FREEZE_DEAD = 20_000;
/** Milliseconds between two questions to the gateway about the stream, and the number of early ones. */
const ASK_INTERVALS = { early: 2_000, late: 60_000 };
const EARLY_ASKS = 5;
/** The usual case of `missing`. */
const NOTHING_MISSING = { video: false, audio: false };
/** Milliseconds until the first media of a new session. */
const CONNECT_TIMEOUT = 10_000;
/** The same if the gateway announced ICE servers that are not in use yet. */
const DIRECT_TIMEOUT = 4_000;
/** Text for a stream that was live before. */
const ENDED = "The stream has ended.";
/** Text for a stream that was not. */
const WAITING = "Waiting for the stream to begin…";
/** Text for a stream that was live and has not ended: its publisher is away, or the gateway was. */
const AWAY = "Waiting for the stream to continue…";
/** Text while the gateway shuts down. */
const RESTARTS = "The server restarts. Reconnecting…";
/** Text for a stream whose only media is video that cannot be shown. */
const NO_VIDEO = "The video cannot be shown: it is in a format that browsers cannot play.";

/**
 * Plays one stream into a video element. It connects, monitors the media, and reconnects when the
 * stream is not live yet, ends or falls silent.
 *
 * Fires `statechange`, whose `detail` is `{ state, text, reason }`, as the properties of these names:
 *
 * - `connecting`: an offer is sent, or the first media is awaited;
 * - `live`: video frames (or audio packets) arrive;
 * - `stalled`: connected, but nothing arrives;
 * - `waiting`: the stream has not begun, or its publisher is away;
 * - `ended`: the stream was live, and has ended;
 * - `locked`: the stream needs a token, or another one;
 * - `unsupported`: this browser cannot play the stream, or no browser can;
 * - `retrying`: another error;
 * - `stopped`: after `stop()`.
 *
 * `text` is for viewers. From `waiting` on, the player retries by itself, and `reason` has the error
 * in the gateway's words, if there is one.
 *
 * Fires `stats` about twice a second while media arrives, with the stats of `stats.js` as `detail`;
 * `data`, with the message as `detail`, if the option `data` is set; and `event`, with an event of
 * the gateway as `detail` (`{ kind, data }`), if the option `events` is set: `active`, `inactive`,
 * `viewercount` (`{ viewercount }`), `reconnect` and `layers` (the renditions by video, each with `rid`, `width`, `height`, `bitrate` and `active`).
 * Fires `missing` with `{ video, audio }` as `detail` when it turns out, or no longer holds, that the
 * publisher sends video or audio that viewers cannot get.
 */
export class Player extends EventTarget {
  #video;
  #endpoint;
  #options;
  #listens;
  #iceServers;
  #session = null;
  #timer = null;
  #failures = 0;
  #wasLive = false;
  #isPaused = false;
  /** Form in which a stream with B-frames is requested; `null` lets the gateway choose. */
  #bFrames = null;
  #stats = null;
  #statsAt = 0;
  /** The selection of a rendition, if there is one. */
  #selection = null;
  /** True if the gateway says that the stream has ended. */
  #isInactive = false;
  /** True if the stream had ended when it was seen last. */
  #hasEnded = false;
  /** When the gateway was asked about the stream last, and how often in this session. */
  #asked = { at: -Infinity, times: 0 };
  /** What the publisher sends and viewers cannot get. */
  #missing = NOTHING_MISSING;
  /** What the gateway of the session sends. */
  #pulse = null;
  /** Replaces the session by one at another gateway. */
  #handover;
  /** Endpoints to try in turn while none responds, and the one to try next. */
  #places;
  #place = 0;
  #state = { state: "stopped", text: "Stopped", reason: null };

  /**
   * @param {HTMLVideoElement} video plays the stream
   * @param {string} endpoint URL of the stream's WHEP endpoint
   * @param {object} [options]
   * @param {string} [options.token] a bearer token for the endpoint
   * @param {RTCIceServer[]} [options.iceServers] STUN and TURN servers; those that the gateway announces
   *   are used, too, if a direct connection fails
   * @param {boolean} [options.data] whether to open a data channel for messages of the publisher
   * @param {boolean} [options.events] whether to listen to events of the gateway; this takes one of
   *   the few connections that a browser has to one site over HTTP/1.1
   */
  constructor(video, endpoint, options = {}) {
    super();
    this.#video = video;
    this.#endpoint = new URL(endpoint, location.href);
    this.#places = [this.#endpoint];
    const { token = null, iceServers = [], data = false, events = false } = options;
    this.#options = { token, onData: data ? (message) => this.#fire("data", message) : null };
    this.#listens = events;
    this.#iceServers = iceServers;
    this.#handover = new Handover(this.#endpoint, {
      session: () => this.#session,
      pulse: () => this.#pulse,
      hasVideo: () => this.#video.videoWidth > 0,
      create: (place) => this.#newSession(place),
      adopt: (session) => {
        this.#endSession();
        this.#session = session;
        this.#show(session);
      },
      onEvent: (session, kind, data) => this.#onEvent(session, kind, data),
      giveUp: (error) => this.#retry(error),
    });
  }

  /** The state in a word. */
  get state() {
    return this.#state.state;
  }

  /** The state in words for viewers. */
  get text() {
    return this.#state.text;
  }

  /** The error in the gateway's words, or `null`. */
  get reason() {
    return this.#state.reason;
  }

  /** The newest stats, or `null` while no media arrives. */
  get stats() {
    return this.#stats;
  }

  /** Returns the statistics of the connection (`RTCStatsReport`), or `null` without a session. */
  async getStats() {
    return this.#session ? this.#session.getStats() : null;
  }

  /** Whether the viewer has paused. */
  get paused() {
    return this.#isPaused;
  }

  /**
   * Selects a rendition of the stream, in this session and in those that follow: `{ rid }` by its id,
   * `{ maxHeight }` none that is higher, `{ shownHeight }` what is enough for this height; `{}` leaves
   * the choice to the gateway.
   */
  select(selection) {
    this.#selection = selection;
    this.#session?.select(selection);
  }

  /** Pauses the video. The session goes on. */
  pause() {
    this.#isPaused = true;
    this.#video.pause();
  }

  /** Plays on after `pause()`, with what is live now. */
  resume() {
    this.#isPaused = false;
    if (this.#session) this.#play();
  }

  /** Starts to play, or retries at once. Does nothing during a session. */
  start() {
    if (this.#session) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Stops and ends the session, also while the page is being left. */
  stop() {
    clearTimeout(this.#timer);
    this.#endSession();
    this.#failures = 0;
    this.#isPaused = false;
    this.#enter("stopped", "Stopped");
  }

  async #connect() {
    const missing = missingSupport();
    if (missing) return this.#enter("unsupported", missing);
    const session = this.#newSession(this.#places[this.#place % this.#places.length]);
    this.#session = session;
    if (this.#isShown(session)) {
      this.#enter("live", "Live");
    } else if (this.#state.state === "stopped") {
      // Other states stay until the attempt has succeeded, so that nothing flickers.
      this.#enter("connecting", "Connecting…");
    }
    try {
      await session.open();
      if (this.#session === session) this.#show(session);
    } catch (error) {
      if (this.#session === session) this.#retry(error);
    }
  }

  /** Returns whether the video shows a frame of a session already: one that came with the page. */
  #isShown({ media }) {
    const { srcObject, readyState, HAVE_CURRENT_DATA } = this.#video;
    return srcObject === media && readyState >= HAVE_CURRENT_DATA;
  }

  #newSession(endpoint) {
    const url = withQuery(endpoint, this.#endpoint);
    if (this.#bFrames) url.searchParams.set("bframes", this.#bFrames);
    const receive = (kind, data) => {
      if (this.#session === session) this.#onEvent(session, kind, data);
      else this.#handover.keep(session, kind, data);
    };
    const onEvent = this.#listens ? receive : null;
    const iceServers = this.#iceServers;
    // The session that came with the page has no data channel and no other servers.
    const isUsual = !this.#bFrames && !this.#options.onData && iceServers.length === 0;
    const prepared = takePrepared(isUsual ? url : null);
    const session = new Session(url, { ...this.#options, iceServers, onEvent, prepared });
    if (this.#selection) session.select(this.#selection);
    return session;
  }

  #show(session) {
    this.#attach(session);
    this.#learnPlaces(session);
    this.#pulse = new Pulse();
    this.#watch(session, new Progress(this.#learnIceServers(session.iceServers)));
  }

  /** Plays the media of a session in the video, as soon as that does not keep the page from loading. */
  async #attach(session) {
    await mediaOrLoad(session.media);
    if (this.#session !== session) return;
    // Setting the same media again would show black.
    if (this.#video.srcObject !== session.media) this.#video.srcObject = session.media;
    session.followFirstFrame(this.#video);
    this.#play();
  }

  /** Handles an event of the gateway. */
  #onEvent(session, kind, data) {
    if (kind === "active" || kind === "inactive") this.#isInactive = kind === "inactive";
    this.#fire("event", { kind, data });
    if (kind === "reconnect") this.#handover.leave(session, data.url ?? session.endpoint);
  }

  /** Remembers where the stream can be had if the gateway of a session does not respond. */
  #learnPlaces({ endpoint, alternates }) {
    const urls = new Map([endpoint, ...alternates, this.#endpoint].map((url) => [url.href, url]));
    this.#places = alternates.length > 0 ? [...urls.values()] : [this.#endpoint];
    this.#place = 0;
  }

  /**
   * Remembers ICE servers for the next connection, which needs them if this one fails. Returns the
   * timeout of this one.
   */
  #learnIceServers(announced) {
    const known = new Set(this.#iceServers.flatMap(({ urls }) => urls));
    const isNew = announced.some(({ urls }) => !known.has(urls));
    if (announced.length > 0) {
      const names = new Set(announced.map(({ urls }) => urls));
      // Credentials expire: the newest replace older ones.
      this.#iceServers = [...this.#iceServers.filter(({ urls }) => !names.has(urls)), ...announced];
    }
    return isNew ? DIRECT_TIMEOUT : CONNECT_TIMEOUT;
  }

  async #play() {
    if (this.#isPaused) return;
    try {
      await this.#video.play();
    } catch (error) {
      // Audio requires a user gesture. Without one, the player starts muted.
      if (error.name === "NotAllowedError" && !this.#video.muted) {
        this.#video.muted = true;
        this.#video.play().catch(() => {});
      }
    }
  }

  /** Checks a session repeatedly until it is over. */
  #watch(session, progress) {
    const interval = session.alternates.length > 0 ? LOOK_INTERVAL : WATCH_INTERVALS.live;
    this.#timer = setTimeout(async () => {
      const report = await session.getStats();
      if (this.#session !== session) return;
      progress.update(report, performance.now(), this.#isPaused);
      this.#pulse.look(report, performance.now());
      const canRescue = progress.started && session.alternates.length > 0;
      if (canRescue && (session.lost || this.#pulse.isGone)) this.#handover.rescue(session);
      const problem = this.#judge(session, progress);
      if (problem && !progress.started) session.reportFailure(report);
      if (problem) return this.#retry(problem);
      if (progress.started && this.#areStatsDue()) {
        this.#stats = measure(report, session, this.#stats);
        this.#fire("stats", this.#stats);
      }
      this.#watch(session, progress);
    }, progress.started || this.#missing.video ? interval : WATCH_INTERVALS.start);
  }

  /** Returns whether it is time for new stats: about twice a second, however often the session is checked. */
  #areStatsDue() {
    const now = performance.now();
    const isDue = this.#stats === null || now - this.#statsAt >= WATCH_INTERVALS.live - LOOK_INTERVAL / 2;
    if (isDue) this.#statsAt = now;
    return isDue;
  }

  /** Shows the state of a session. Returns an error if the session has to be given up. */
  #judge(session, progress) {
    const { silent, frozen, timeout } = progress;
    if (session.lost && this.#handover.isRescuing(session)) return null;
    if (session.lost) return new PlayError("reconnecting", "the connection is lost");
    if (progress.lacksMedia && session.connected) this.#askAboutMedia(session);
    else if (!progress.lacksMedia) this.#setMissing(NOTHING_MISSING);
    if (progress.isRefused && !this.#bFrames) return this.#askForKeyframes();
    if (this.#isInactive && session.connected && silent >= WATCH_INTERVALS.live) {
      // The session outlives the publisher, for as long as the gateway keeps it.
      this.#hasEnded = !this.#handover.isLeaving(session) && !this.#handover.isRescuing(session);
      this.#enter(...(this.#hasEnded ? ["ended", ENDED] : ["stalled", RESTARTS]));
      return null;
    }
    if (!progress.started) {
      if (this.#missing.video) {
        this.#enter("unsupported", NO_VIDEO);
        return null;
      }
      if (silent < timeout) return null;
      const error = new PlayError("blocked", `no media within ${timeout} ms`);
      if (timeout === DIRECT_TIMEOUT) error.pause = 0;
      return error;
    }
    if (silent >= (session.connected ? SILENCE_CONNECTED : SILENCE_CUT)) {
      return new PlayError("reconnecting", `no media for ${silent.toFixed()} ms`);
    }
    if (frozen >= FREEZE_DEAD) {
      return new PlayError("reconnecting", `no new frame for ${frozen.toFixed()} ms`);
    }
    if (silent >= SILENCE_NOTICED || frozen >= SILENCE_NOTICED) {
      this.#enter("stalled", "Reconnecting…");
      if (!this.#listens) this.#ask(session, ASK_INTERVALS.early);
    } else {
      if (!this.#listens) this.#isInactive = false;
      this.#failures = 0;
      this.#wasLive = true;
      this.#hasEnded = false;
      this.#enter("live", "Live");
    }
    return null;
  }

  /** Asks the gateway why there is no video or audio: rarely once it had time to find out. */
  #askAboutMedia(session) {
    const isEarly = this.#asked.times < EARLY_ASKS;
    this.#ask(session, isEarly ? ASK_INTERVALS.early : ASK_INTERVALS.late);
  }

  /**
   * Asks the gateway, unless it was asked within `interval`, whether the publisher has ended the stream,
   * and whether it sends what viewers cannot get.
   */
  async #ask(session, interval) {
    const now = performance.now();
    if (now - this.#asked.at < interval) return;
    this.#asked = { at: now, times: this.#asked.times + 1 };
    const { state, missing } = await session.streamState();
    if (this.#session !== session) return;
    if (!this.#listens && state === "ended") this.#isInactive = true;
    this.#setMissing({ video: missing.includes("video"), audio: missing.includes("audio") });
  }

  #setMissing(missing) {
    const before = this.#missing;
    if (before.video === missing.video && before.audio === missing.audio) return;
    this.#missing = missing;
    this.#fire("missing", missing);
  }

  /**
   * Reconnects with keyframes only, for a stream with B-frames: the gateway assumed that this
   * browser's decoder reorders frames, and it does not.
   */
  #askForKeyframes() {
    this.#bFrames = "keyframes";
    const error = new PlayError("reconnecting", "the browser does not reorder frames");
    error.pause = 0;
    return error;
  }

  /** Gives the session up and schedules the next attempt. */
  #retry(error) {
    // The gateway ends the session some time after its publisher.
    const isLeaving = this.#handover.isLeaving(this.#session);
    const isOver = this.#isInactive && error.status === null && !isLeaving;
    this.#hasEnded ||= isOver;
    const isDown = !(error instanceof PlayError) || error.status === 503;
    if (isDown) this.#place += 1;
    this.#endSession();
    const pause = error.pause ?? backoff(this.#failures);
    this.#failures += 1;
    if (error.status === 409 || isOver) {
      if (this.#hasEnded) this.#enter("ended", ENDED);
      else this.#enter("waiting", this.#wasLive ? AWAY : WAITING);
    } else if (isLeaving || (this.#state.text === RESTARTS && [null, undefined, 503].includes(error.status))) {
      this.#enter("retrying", RESTARTS, error.message);
    } else if (error instanceof PlayError) {
      this.#enter(error.state, error.text, error.message);
    } else {
      this.#enter("retrying", "No connection to the stream. Trying again…", error.message);
    }
    this.#timer = setTimeout(() => this.#connect(), spread(pause));
  }

  #endSession() {
    clearTimeout(this.#timer);
    this.#session?.close();
    this.#session = null;
    this.#handover.stop();
    this.#pulse = null;
    this.#isInactive = false;
    this.#stats = null;
    this.#asked = { at: -Infinity, times: 0 };
    this.#setMissing(NOTHING_MISSING);
  }

  #enter(state, text, reason = null) {
    if (this.#state.state === state && this.#state.text === text) return;
    this.#state = { state, text, reason };
    this.#fire("statechange", this.#state);
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
