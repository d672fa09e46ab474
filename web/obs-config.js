/** The configuration with which OBS Studio makes the renditions of a stream itself. */

/** Bits per second to which bitrates are rounded. */
const STEP = 100_000;
/** Keyframe interval in seconds. */
const KEYFRAMES = 2;

/**
 * Returns the text for "Config Override (JSON)" of OBS Studio 32 (Settings, Stream, Multitrack Video):
 * an encoding for the stream as published, and one for each rendition that the gateway can make of it.
 * `null` if there is none, or the stream has no encoder that could be OBS.
 *
 * The form is that of `GoLiveApi::Config` in the source of OBS.
 *
 * @param {object} stream as the API describes it
 * @param {string} server the RTMP URL for others, up to the application
 */
export function obsConfigOf({ video, publisher, renditions }, server) {
  const made = renditions.filter(({ id, max_bitrate_bps }) => id !== "h264" && max_bitrate_bps);
  if (made.length === 0 || !video?.height || publisher.address === null) return null;
  const published = { ...video, max_bitrate_bps: video.bitrate_bps };
  const framerate = { numerator: Math.max(Math.round(video.frame_rate), 1), denominator: 1 };
  const encoder = ({ width, height, max_bitrate_bps }) => ({
    type: "obs_x264",
    width,
    height,
    framerate,
    settings: {
      rate_control: "CBR",
      bitrate: (Math.max(Math.round(max_bitrate_bps / STEP), 1) * STEP) / 1000,
      keyint_sec: KEYFRAMES,
      preset: "veryfast",
      profile: "high",
      tune: "zerolatency",
    },
  });
  const config = {
    meta: { service: "custom", schema_version: "2025-01-25", config_id: "" },
    ingest_endpoints: [{ protocol: "RTMP", url_template: `${server.replace(/\/$/, "")}/{stream_key}` }],
    encoder_configurations: [published, ...made].map(encoder),
    audio_configurations: {
      live: [{ codec: "ffmpeg_aac", track_id: 1, channels: 2, settings: { bitrate: 160 } }],
    },
  };
  return JSON.stringify(config, null, 2);
}
