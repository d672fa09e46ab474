/** Notices that the gateway of a session is gone, and brings up a session elsewhere beside it. */

/** Milliseconds between two looks at a session that has alternates. */
export const LOOK_INTERVAL = 250;
/** Milliseconds without packets and without sender reports after which a gateway is gone. */
const GONE = 700;
/** The same after this many milliseconds without packets: then the gateway reports more rarely. */
const GONE_LATE = 5_000;
const LATE = 10_000;
/** Milliseconds until a session elsewhere has to show video once it is connected. */
const PICTURE_TIMEOUT = 2_000;
/** Milliseconds between two looks at a session that is brought up. */
const RISE_INTERVAL = 50;

/**
 * Follows what arrives from the gateway of a session. While a publisher is away, the gateway sends no
 * packets, and sender reports all the same.
 */
export class Pulse {
  #packets = 0;
  #reports = 0;
  #lookedAt = null;
  /** Milliseconds without packets, and without packets and reports. */
  #idle = 0;
  #silent = 0;

  /** Looks at a report (`RTCStatsReport`) that was made at `now`. */
  look(report, now) {
    // A page that stood still has not looked: what it has missed may come yet.
    const passed = Math.min(now - (this.#lookedAt ?? now), 2 * LOOK_INTERVAL);
    this.#lookedAt = now;
    const { packets, reports } = arrivals(report);
    const [hasPackets, hasReports] = [packets !== this.#packets, reports !== this.#reports];
    this.#packets = packets;
    this.#reports = reports;
    this.#idle = hasPackets ? 0 : this.#idle + passed;
    this.#silent = hasPackets || hasReports ? 0 : this.#silent + passed;
  }

  /** True if no packets have arrived for so long that a session without video is not worse. */
  get isIdle() {
    return this.#idle >= PICTURE_TIMEOUT;
  }

  /** Whether the gateway is gone. Never for a browser that does not show reports. */
  get isGone() {
    return this.#reports > 0 && this.#silent >= (this.#idle >= LATE ? GONE_LATE : GONE);
  }
}

function arrivals(report) {
  const sum = { packets: 0, reports: 0 };
  for (const stats of report.values()) {
    if (stats.type === "inbound-rtp") sum.packets += stats.packetsReceived ?? 0;
    if (stats.type === "remote-outbound-rtp") sum.reports += stats.reportsSent ?? stats.remoteTimestamp ?? 0;
  }
  return sum;
}

/**
 * Opens a session, and waits until its video plays. Returns whether it has, or, if that is enough, is
 * connected for a while: its stream may have no publisher. Throws what `Session.open` throws.
 *
 * @param {Session} session
 * @param {object} options
 * @param {boolean} options.hasVideo whether video is expected, and not audio alone
 * @param {number} options.timeout milliseconds until it has to be connected, and then to show video
 * @param {() => boolean} options.isWanted whether it still makes sense
 * @param {() => boolean} options.isConnectionEnough whether a session without video will do
 */
export async function bringUp(session, { hasVideo, timeout, isWanted, isConnectionEnough }) {
  const opened = session.open().then(() => true);
  const began = performance.now();
  if (!(await Promise.race([opened, pause(timeout).then(() => false)]))) return false;
  let connectedAt = null;
  while (isWanted() && !session.lost) {
    const now = performance.now();
    if (session.connected) connectedAt ??= now;
    if (connectedAt !== null) {
      if (hasMedia(await session.getStats(), hasVideo)) return isWanted();
      if (now - connectedAt >= PICTURE_TIMEOUT && isConnectionEnough()) return isWanted();
    }
    if (now - (connectedAt ?? began) >= timeout) return false;
    await pause(RISE_INTERVAL);
  }
  return false;
}

/** Returns whether a frame was decoded; without video, whether packets have arrived. */
function hasMedia(report, hasVideo) {
  const inbound = [...report.values()].filter(({ type }) => type === "inbound-rtp");
  return inbound.some(({ framesDecoded, packetsReceived }) => (hasVideo ? framesDecoded : packetsReceived) > 0);
}

/** Waits for some milliseconds. */
export function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}
