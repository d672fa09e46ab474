/** Moves a viewer to a session at another gateway, which begins beside the present one. */

import { backoff, spread } from "./backoff.js";
import { atNode, toUrl } from "./endpoint.js";
import { LOOK_INTERVAL, bringUp, pause } from "./failover.js";
import { PlayError } from "./session.js";

/** Milliseconds until a session is connected that replaces one whose gateway is about to end it. */
const LEAVE_TIMEOUT = 10_000;
/** The same for a session in the place of one whose gateway is gone. */
const RESCUE_TIMEOUT = 3_000;
/** Seconds between two attempts to find another gateway for a session whose gateway is gone. */
const RESCUE_PAUSE = 1;
/** Maximum pause before viewers leave a gateway that is gone, or about to end, in milliseconds. */
const SPREAD = { gone: 300, ending: 1_000 };
/** Statuses that mean that this viewer gets no session, at other gateways neither. */
const REFUSED = [401, 403, 404];

/**
 * Replaces the session of a player.
 *
 * `leave` and `rescue` may run at once for the same session: `rescue` goes first. Both end when the
 * player has another session, or none.
 */
export class Handover {
  #endpoint;
  #player;
  /** The session that is being replaced because its gateway is about to end it. */
  #leaving = null;
  /** The session that is being replaced because its gateway is gone. */
  #rescuing = null;
  /** The session that is being brought up in the place of another, and its events until then. */
  #rising = null;

  /**
   * @param {URL} endpoint the WHEP endpoint of the stream
   * @param {object} player
   * @param {() => Session | null} player.session the present session
   * @param {() => Pulse | null} player.pulse what the gateway of that sends
   * @param {() => boolean} player.hasVideo whether video was shown
   * @param {(endpoint: URL) => Session} player.create creates a session at an endpoint
   * @param {(session: Session) => void} player.adopt ends the present session, and shows this one
   * @param {(session: Session, kind: string, data: object) => void} player.onEvent handles an event
   * @param {(error: Error) => void} player.giveUp ends the session, and retries later
   */
  constructor(endpoint, player) {
    this.#endpoint = endpoint;
    this.#player = player;
  }

  /** Whether this session is being replaced because its gateway is about to end it. */
  isLeaving(session) {
    return session !== null && this.#leaving === session;
  }

  /** Whether this session is being replaced because its gateway is gone. */
  isRescuing(session) {
    return session !== null && this.#rescuing === session;
  }

  /** Keeps an event of a session that is being brought up until that is shown. */
  keep(session, kind, data) {
    if (this.#rising?.session === session) this.#rising.events.push([kind, data]);
  }

  /** Ends with the player's session. */
  stop() {
    this.#rising?.session.close();
    this.#rising = null;
    this.#leaving = null;
    this.#rescuing = null;
  }

  /**
   * Replaces a session that the gateway is about to end. If there is no other gateway, the old one plays
   * on to its end.
   */
  async leave(old, endpoint) {
    if (this.#leaving === old) return;
    this.#leaving = old;
    // All viewers of the gateway get the event at once: spread their reconnects.
    await pause(SPREAD.ending * Math.random());
    const places = [toUrl(endpoint, this.#endpoint) ?? old.endpoint, ...old.alternates];
    const options = {
      timeout: LEAVE_TIMEOUT,
      isWanted: () => this.#isPresent(old) && this.#rescuing !== old,
      isConnectionEnough: () => this.#player.pulse()?.isIdle,
    };
    for (let attempt = 0; this.#isPresent(old); attempt += 1) {
      // A rescue is in a greater hurry. If the gateway comes back, it is about to end all the same.
      while (this.#rescuing === old) await pause(LOOK_INTERVAL);
      if (!this.#isPresent(old)) return;
      const { isDone, error } = await this.#replace(old, places[attempt % places.length], options);
      if (isDone || !this.#isPresent(old)) return;
      if (REFUSED.includes(error?.status)) {
        this.#leaving = null;
        return;
      }
      await pause(spread(error?.pause ?? backoff(attempt)));
    }
  }

  /**
   * Replaces a session whose gateway is gone, unless it comes back before. If no other gateway responds
   * either, the viewer's own network may be down: the session goes on if it is back soon.
   */
  async rescue(old) {
    if (this.#rescuing === old) return;
    this.#rescuing = old;
    const pulse = this.#player.pulse();
    const isWanted = () => this.#isPresent(old) && (old.lost || pulse.isGone);
    const options = { timeout: RESCUE_TIMEOUT, isWanted, isConnectionEnough: () => true };
    let refusal = null;
    // All viewers of the gateway notice at once.
    await pause(SPREAD.gone * Math.random());
    for (const place of old.alternates) {
      if (!isWanted()) break;
      const { isDone, error } = await this.#replace(old, place, options);
      if (isDone) return;
      if (error?.state === "locked") refusal = error;
    }
    if (!this.#isPresent(old)) return;
    if (old.lost) {
      const reason = "the gateway and its alternates do not respond";
      this.#player.giveUp(refusal ?? new PlayError("reconnecting", reason));
      return;
    }
    await pause(spread(RESCUE_PAUSE));
    if (this.#rescuing === old) this.#rescuing = null;
  }

  #isPresent(session) {
    return this.#player.session() === session;
  }

  /** Opens a session at another endpoint beside the old one, and shows it when its video plays. */
  async #replace(old, endpoint, options) {
    const session = this.#player.create(atNode(endpoint, this.#endpoint));
    const rising = { session, events: [] };
    this.#rising?.session.close();
    this.#rising = rising;
    try {
      if (await bringUp(session, { ...options, hasVideo: this.#player.hasVideo() })) {
        session.takeOver(old);
        this.#rising = null;
        this.#player.adopt(session);
        for (const [kind, data] of rising.events) this.#player.onEvent(session, kind, data);
        return { isDone: true };
      }
    } catch (error) {
      return { isDone: false, error };
    } finally {
      if (!this.#isPresent(session)) session.close();
      if (this.#rising === rising) this.#rising = null;
    }
    return { isDone: false };
  }
}
