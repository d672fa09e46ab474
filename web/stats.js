/** Stats of the connection, from the browser's statistics. */

/** Milliseconds over which rates are measured. */
const WINDOW = 2_000;

/**
 * Returns the stats from a report (`RTCStatsReport`).
 *
 * `session` tells the capture time of the shown frame (`capturedAt`) and `firstFrame`; `before` are the
 * previous stats, or `null`.
 *
 * A value that the browser does not report is `null`:
 *
 * - `firstFrame`: milliseconds from the start of the session to its first shown frame; the start is the
 *   request, or the arrival of a page that came with a session;
 * - `latency`: milliseconds from the gateway's receiving a frame to its display. If `isEstimate`, it
 *   is the sum of half a round trip, buffer and decoding, because the browser does not report capture
 *   times; it is never less than this sum;
 * - `bitrate`: bits per second of all media;
 * - `frameRate`: video frames per second;
 * - `loss`: percentage of packets lost over the last seconds, without those repaired by
 *   retransmission;
 * - `width`, `height`, `codecs`: of the decoded media; `hasAudio`: whether audio has arrived;
 * - `roundTrip`, `buffer`: milliseconds, of the path and in the jitter buffer;
 * - `freezes`, `dropped`: number of freezes, and of frames not shown, since the beginning;
 * - `path`: `UDP`, `TCP` or `relay`.
 */
export function measure(report, { capturedAt, firstFrame }, before) {
  const stats = [...report.values()];
  const inbound = (kind) => stats.find((one) => one.type === "inbound-rtp" && one.kind === kind);
  const [video, audio] = [inbound("video"), inbound("audio")];
  const sample = sampleOf(video, audio);
  const samples = [...(before?.samples ?? []), sample];
  while (samples.length > 2 && sample.at - samples[1].at >= WINDOW) samples.shift();
  const rates = ratesOf(samples[0], sample);
  const roundTrip = roundTripOf(stats, report);
  const age = ageOf(capturedAt, stats, roundTrip);
  const least = estimate(roundTrip, rates);
  return {
    firstFrame,
    // The capture clock of a stream whose first frame came late is ahead: no frame is younger than the
    // way that it has certainly taken.
    latency: age === null ? least : Math.max(age, least ?? 0),
    isEstimate: age === null,
    ...rates,
    width: video?.frameWidth ?? null,
    height: video?.frameHeight ?? null,
    codecs: [video, audio].map((one) => codecOf(one, report)).filter(Boolean),
    hasAudio: (audio?.packetsReceived ?? 0) > 0,
    roundTrip,
    freezes: video?.freezeCount ?? null,
    dropped: video?.framesDropped ?? null,
    path: pathOf(stats, report),
    samples,
  };
}

/** Returns the counters at one moment. */
function sampleOf(video, audio) {
  const sum = (name) => (video?.[name] ?? 0) + (audio?.[name] ?? 0);
  return {
    at: (video ?? audio)?.timestamp ?? performance.timeOrigin + performance.now(),
    bytes: sum("bytesReceived"),
    packets: sum("packetsReceived"),
    lost: sum("packetsLost"),
    frames: video?.framesDecoded ?? null,
    bufferDelay: (video ?? audio)?.jitterBufferDelay ?? null,
    buffered: (video ?? audio)?.jitterBufferEmittedCount ?? 0,
    decodeTime: video?.totalDecodeTime ?? 0,
  };
}

function ratesOf(first, last) {
  const seconds = (last.at - first.at) / 1000;
  if (!(seconds > 0)) return { bitrate: null, frameRate: null, loss: null, buffer: null, decoding: null };
  const packets = last.packets - first.packets;
  // A late packet reduces the count of lost packets.
  const lost = Math.max(last.lost - first.lost, 0);
  const buffered = last.buffered - first.buffered;
  const frames = last.frames === null ? null : last.frames - (first.frames ?? 0);
  return {
    bitrate: (8 * (last.bytes - first.bytes)) / seconds,
    frameRate: frames === null ? null : frames / seconds,
    loss: packets + lost > 0 ? (100 * lost) / (packets + lost) : null,
    buffer: buffered > 0 ? (1000 * (last.bufferDelay - first.bufferDelay)) / buffered : null,
    decoding: frames > 0 ? (1000 * (last.decodeTime - first.decodeTime)) / frames : null,
  };
}

/** Returns the round trip time of the selected candidate pair in milliseconds. */
function roundTripOf(stats, report) {
  const seconds = pairOf(stats, report)?.currentRoundTripTime;
  return seconds === undefined ? null : 1000 * seconds;
}

function pairOf(stats, report) {
  const transport = stats.find(({ type }) => type === "transport");
  const selected = transport && report.get(transport.selectedCandidatePairId);
  // Firefox marks the pair itself.
  return selected ?? stats.find(({ type, selected }) => type === "candidate-pair" && selected);
}

function pathOf(stats, report) {
  const local = report.get(pairOf(stats, report)?.localCandidateId);
  if (!local) return null;
  return local.candidateType === "relay" ? "relay" : (local.protocol?.toUpperCase() ?? null);
}

/**
 * Returns the milliseconds since the frame was captured. The clocks of gateway and browser may
 * differ: a sender report has the gateway's time of its sending, and the browser knows when it
 * arrived.
 */
function ageOf(capturedAt, stats, roundTrip) {
  const sender = stats.find(({ type, kind }) => type === "remote-outbound-rtp" && kind === "video");
  if (capturedAt === null || !sender?.remoteTimestamp) return null;
  const ahead = sender.remoteTimestamp + (roundTrip ?? 0) / 2 - sender.timestamp;
  const now = performance.timeOrigin + performance.now();
  return now + ahead - capturedAt;
}

function estimate(roundTrip, { buffer, decoding }) {
  if (buffer === null) return null;
  return (roundTrip ?? 0) / 2 + buffer + (decoding ?? 0);
}

function codecOf(inbound, report) {
  return report.get(inbound?.codecId)?.mimeType?.split("/")[1] ?? null;
}
