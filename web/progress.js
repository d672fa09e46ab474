/** What has arrived of a session's media, by the statistics of its connection. */

/**
 * Milliseconds with packets and keyframe requests, but without a new frame, until the player
 * assumes that the decoder cannot decode the stream.
 */
const FREEZE_OF_DECODER = 2_500;
/** Number of keyframe requests in that time that exceeds the ordinary repair of losses. */
const MANY_REQUESTS = 4;
/** Milliseconds until a stream is expected to have video and audio, if it has both. */
const MEDIA_EXPECTED = 2_500;

/** Tracks what has arrived, and for how long nothing has. */
export class Progress {
  /** Whether any media was decoded yet. */
  started = false;
  /** Milliseconds until the first media has to arrive. */
  timeout;
  /** Milliseconds since the last packet. */
  silent = 0;
  /** Milliseconds since the last new frame; 0 without video, in a pause, and in a hidden page. */
  frozen = 0;
  /** Whether the decoder appears unable to decode the stream. */
  isRefused = false;
  /** Whether video or audio has not arrived although it should have, if the stream has it. */
  lacksMedia = false;
  #began = performance.now();
  #packets = 0;
  #frames = 0;
  /** Keyframe requests until the last new frame. */
  #requests = 0;
  #packetsAt = performance.now();
  #framesAt = performance.now();

  constructor(timeout) {
    this.timeout = timeout;
  }

  update(report, now, isPaused) {
    const { packets, frames, requests, hasVideo, hasAudio } = totals(report);
    if (packets !== this.#packets) this.#packetsAt = now;
    // Browsers may stop decoding what they do not show.
    if (frames !== this.#frames || !hasVideo || isPaused || document.hidden) {
      this.#framesAt = now;
      this.#requests = requests;
    }
    this.#packets = packets;
    this.#frames = frames;
    this.started ||= hasVideo ? frames > 0 : packets > 0;
    this.silent = now - this.#packetsAt;
    this.frozen = now - this.#framesAt;
    this.lacksMedia = !(hasVideo && hasAudio) && now - this.#began >= MEDIA_EXPECTED;
    this.isRefused =
      this.frozen >= FREEZE_OF_DECODER && requests - this.#requests >= MANY_REQUESTS;
  }
}

function totals(report) {
  const sum = { packets: 0, frames: 0, requests: 0, hasVideo: false, hasAudio: false };
  for (const stats of report.values()) {
    if (stats.type !== "inbound-rtp") continue;
    sum.packets += stats.packetsReceived ?? 0;
    sum.frames += stats.framesDecoded ?? 0;
    sum.requests += stats.pliCount ?? 0;
    sum.hasVideo ||= stats.kind === "video" && stats.packetsReceived > 0;
    sum.hasAudio ||= stats.kind === "audio" && stats.packetsReceived > 0;
  }
  return sum;
}
