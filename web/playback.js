/** Plays a stream by WHEP and never gives up: see `Player`. */

import { measure } from "./figures.js";
import { PlayError, Session } from "./session.js";

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
/** With packets, but without one new picture and with requests for keyframes for so long, in milliseconds,
 * the decoder takes what comes for errors. */
const FREEZE_OF_DECODER = 2_500;
/** Requests for keyframes in that time that are not the ordinary repair of a loss. */
const MANY_REQUESTS = 4;
/** Milliseconds a new session may take to its first media. */
const CONNECT_TIMEOUT = 10_000;
/** The same where the gateway has named servers that could help, and that were not used so far. */
const DIRECT_TIMEOUT = 4_000;
/** Milliseconds between two looks at a new session that is to take the place of one that plays. */
const GO_OVER_INTERVAL = 50;
/** Pauses between attempts that fail in a row, in seconds. */
const BACKOFF = [1, 2, 4, 8, 10];

/**
 * Plays one stream into a video element. It connects, watches over the media, and connects again when the
 * stream is not there yet, goes away or falls silent.
 *
 * Fires `statechange`, whose `detail` is `{ state, text }`:
 *
 * - `connecting`: an offer is on its way, or media is awaited;
 * - `live`: pictures (or sound) advance;
 * - `stalled`: connected, but nothing new comes;
 * - `waiting`: the stream is not live; asked again soon;
 * - `retrying`: something went wrong, `text` says what; tried again soon;
 * - `stopped`: after `stop()`.
 *
 * Fires `figures` about twice a second while media comes, with the figures of `figures.js` as `detail`;
 * `data`, with the message as `detail`, where the option `data` is set; and `event`, where the option `events`
 * is set, with what the gateway tells of the session as `detail`, `{ kind, data }`: `active`, `inactive`,
 * `viewercount` (`{ viewercount }`), `reconnect` and `notice` (`{ notice }`, what keeps viewers from seeing
 * the stream as it is).
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
  /** In what form a stream with B-frames is asked for; `null` leaves it to the gateway. */
  #bFrames = null;
  #figures = null;
  /** Whether the gateway has said that nobody publishes. */
  #isInactive = false;
  /** The session that the gateway has asked to leave. */
  #leaving = null;
  #state = { state: "stopped", text: "Stopped" };

  /**
   * @param {HTMLVideoElement} video plays the stream
   * @param {string} endpoint URL of the stream's WHEP endpoint
   * @param {object} [options]
   * @param {string} [options.token] a bearer token for the endpoint
   * @param {RTCIceServer[]} [options.iceServers] STUN and TURN servers; those that the gateway names are
   *   used, too, where there is no way without them
   * @param {boolean} [options.data] whether to open a data channel, for what the publisher says
   * @param {boolean} [options.events] whether to listen to what the gateway says; it takes one of the few
   *   connections that a browser has to one site over HTTP/1.1
   */
  constructor(video, endpoint, options = {}) {
    super();
    this.#video = video;
    this.#endpoint = new URL(endpoint, location.href);
    const { token = null, iceServers = [], data = false, events = false } = options;
    this.#options = { token, onData: data ? (message) => this.#fire("data", message) : null };
    this.#listens = events;
    this.#iceServers = iceServers;
  }

  /** What the player is doing now: `{ state, text }`. */
  get state() {
    return this.#state;
  }

  /** The newest figures, or `null` while no media comes. */
  get figures() {
    return this.#figures;
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
    const session = this.#newSession(this.#endpoint);
    this.#session = session;
    if (!this.#wasLive || this.#failures > 0) {
      this.#enter("connecting", this.#connectingText());
    }
    try {
      await session.open();
      if (this.#session === session) this.#show(session);
    } catch (error) {
      if (this.#session === session) this.#retry(error);
    }
  }

  #newSession(endpoint) {
    const url = new URL(endpoint, this.#endpoint);
    if (this.#bFrames) url.searchParams.set("bframes", this.#bFrames);
    const hear = (kind, data) => this.#session === session && this.#hear(session, kind, data);
    const onEvent = this.#listens ? hear : null;
    const iceServers = this.#iceServers;
    const session = new Session(url, { ...this.#options, iceServers, onEvent });
    return session;
  }

  #show(session) {
    this.#video.srcObject = session.media;
    this.#play();
    this.#watch(session, new Progress(this.#learn(session.iceServers)));
  }

  /** Takes what the gateway tells of the session. */
  #hear(session, kind, data) {
    if (kind === "active" || kind === "inactive") this.#isInactive = kind === "inactive";
    this.#fire("event", { kind, data });
    if (kind === "reconnect") this.#goOver(session, data.url ?? this.#endpoint);
  }

  /**
   * Goes over to a new session, because the gateway is about to end this one. Where none is to be had, as at
   * a gateway that stands alone, the old one plays on to its end.
   */
  async #goOver(old, endpoint) {
    if (this.#leaving === old) return;
    this.#leaving = old;
    // All viewers of the gateway hear it at once.
    let pause = Math.random();
    while (await this.#isStill(old, pause)) {
      const session = this.#newSession(endpoint);
      try {
        await session.open();
        for (let waited = 0; !session.connected && waited < CONNECT_TIMEOUT; waited += GO_OVER_INTERVAL) {
          if (!(await this.#isStill(old, GO_OVER_INTERVAL / 1000))) break;
        }
      } catch (error) {
        pause = error.pause ?? BACKOFF.at(-1);
      }
      if (session.connected && this.#session === old) {
        this.#endSession();
        this.#session = session;
        return this.#show(session);
      }
      session.close();
    }
  }

  /** Whether a session is that which plays, some seconds from now. */
  async #isStill(session, seconds) {
    await new Promise((done) => setTimeout(done, seconds * 1000));
    return this.#session === session;
  }

  /**
   * Remembers servers for the next connection, which needs them if this one comes to nothing. Gives the
   * time that this one has.
   */
  #learn(named) {
    const known = new Set(this.#iceServers.flatMap(({ urls }) => urls));
    const isNew = named.some(({ urls }) => !known.has(urls));
    if (named.length > 0) {
      const names = new Set(named.map(({ urls }) => urls));
      // Passwords are good for a time: the newest count.
      this.#iceServers = [...this.#iceServers.filter(({ urls }) => !names.has(urls)), ...named];
    }
    return isNew ? DIRECT_TIMEOUT : CONNECT_TIMEOUT;
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
      if (problem) return this.#retry(problem);
      if (progress.started) {
        this.#figures = measure(report, session.capturedAt, this.#figures);
        this.#fire("figures", this.#figures);
      }
      this.#watch(session, progress);
    }, progress.started ? WATCH_INTERVALS.live : WATCH_INTERVALS.start);
  }

  /** Words for the state of a session; returns an error when it is past hope. */
  #judge(session, progress) {
    const { silent, frozen, patience } = progress;
    const seconds = (millis) => Math.round(millis / 1000);
    if (session.lost) return new PlayError("Connection lost, reconnecting…");
    if (progress.isRefused && !this.#bFrames) return this.#askForKeyframes();
    if (this.#isInactive && session.connected && silent >= WATCH_INTERVALS.live) {
      // The session outlives the publisher; how long is for the gateway to say.
      this.#enter("waiting", ENDED);
      return null;
    }
    if (!progress.started) {
      if (silent < patience) return null;
      const error = new PlayError(
        `No media within ${seconds(patience)} s: the network may block it. Trying again…`,
      );
      if (patience === DIRECT_TIMEOUT) error.pause = 0;
      return error;
    }
    if (silent >= (session.connected ? SILENCE_CONNECTED : SILENCE_CUT)) {
      return new PlayError(`No media for ${seconds(silent)} s, reconnecting…`);
    }
    if (frozen >= FREEZE_DEAD) {
      return new PlayError(`No new frame for ${seconds(frozen)} s, reconnecting…`);
    }
    if (silent >= SILENCE_NOTICED) {
      this.#enter("stalled", `No media for ${seconds(silent)} s`);
    } else if (frozen >= SILENCE_NOTICED) {
      this.#enter("stalled", `No new frame for ${seconds(frozen)} s`);
    } else {
      this.#failures = 0;
      this.#wasLive = true;
      this.#enter("live", "Live");
    }
    return null;
  }

  /**
   * Goes on with the keyframes of a stream with B-frames: the gateway took this browser for one whose decoder
   * puts pictures in order, and it does not.
   */
  #askForKeyframes() {
    this.#bFrames = "keyframes";
    const error = new PlayError(
      "This browser cannot decode the frames of this stream in order. Switching to keyframes only…",
    );
    error.pause = 0;
    return error;
  }

  /** Gives the session up and plans the next attempt. */
  #retry(error) {
    this.#endSession();
    const backoff = BACKOFF[Math.min(this.#failures, BACKOFF.length - 1)];
    this.#failures += 1;
    const pause = error.pause ?? backoff;
    if (error.status === 409) {
      const text = this.#wasLive
        ? ENDED
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
    clearTimeout(this.#timer);
    this.#session?.close();
    this.#session = null;
    this.#isInactive = false;
    this.#figures = null;
  }

  #enter(state, text) {
    if (this.#state.state === state && this.#state.text === text) return;
    this.#state = { state, text };
    this.#fire("statechange", this.#state);
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Words for a stream that was there. */
const ENDED = "The stream has ended. Waiting for it to return…";

/** What has come so far, and for how long nothing has. */
class Progress {
  /** Whether anything was shown or heard yet. */
  started = false;
  /** Milliseconds until the first media has to come. */
  patience;
  /** Milliseconds since the last packet. */
  silent = 0;
  /** Milliseconds since the last new picture; 0 for sound alone and while the page is hidden. */
  frozen = 0;
  /** Whether the decoder takes what comes for errors. */
  isRefused = false;
  #packets = 0;
  #frames = 0;
  /** Requests for keyframes until the last new picture. */
  #requests = 0;
  #packetsAt = performance.now();
  #framesAt = performance.now();

  constructor(patience) {
    this.patience = patience;
  }

  update(report, now) {
    const { packets, frames, requests, hasVideo } = totals(report);
    if (packets !== this.#packets) this.#packetsAt = now;
    // Browsers may stop decoding what nobody sees.
    if (frames !== this.#frames || !hasVideo || document.hidden) {
      this.#framesAt = now;
      this.#requests = requests;
    }
    this.#packets = packets;
    this.#frames = frames;
    this.started ||= hasVideo ? frames > 0 : packets > 0;
    this.silent = now - this.#packetsAt;
    this.frozen = now - this.#framesAt;
    this.isRefused =
      this.frozen >= FREEZE_OF_DECODER && requests - this.#requests >= MANY_REQUESTS;
  }
}

function totals(report) {
  const sum = { packets: 0, frames: 0, requests: 0, hasVideo: false };
  for (const stats of report.values()) {
    if (stats.type !== "inbound-rtp") continue;
    sum.packets += stats.packetsReceived ?? 0;
    sum.frames += stats.framesDecoded ?? 0;
    sum.requests += stats.pliCount ?? 0;
    sum.hasVideo ||= stats.kind === "video" && stats.packetsReceived > 0;
  }
  return sum;
}

/** Words for an error that is not the gateway's answer. */
function describe(error) {
  if (error.name === "AbortError" || error instanceof TypeError) {
    return "The gateway does not answer. Trying again…";
  }
  return `${error.message}. Trying again…`;
}
