/** The markup of `<distributary-player>`. */

const icon = (paths) => `<svg viewBox="0 0 24 24" aria-hidden="true">${paths}</svg>`;

const MARKUP = `
  <slot name="video"><video class="fallback" autoplay playsinline></video></slot>
  <canvas class="poster" aria-hidden="true" hidden></canvas>
  <div class="state">
    <p aria-hidden="true"><span class="mark"></span><span class="words"></span></p>
    <form class="lock" hidden>
      <label for="key">Password or key</label>
      <input type="password" class="key" id="key" autocomplete="current-password" required>
      <button type="submit">Watch</button>
    </form>
  </div>
  <p class="visually-hidden" role="status"></p>
  <p class="no-video" hidden></p>
  <p class="notice" role="note" hidden></p>
  <dl class="stats-list" hidden></dl>
  <button type="button" class="play" aria-label="Play">
    ${icon('<path d="M8 5.2v13.6L19 12z" fill="currentColor"/>')}
  </button>
  <div class="bar" role="group" aria-label="Controls">
    <button type="button" class="pause" aria-label="Pause" title="Pause (k)">
      ${icon(`<path class="when-paused" d="M8 5.2v13.6L19 12z" fill="currentColor"/>
        <path class="when-playing" d="M8.5 5.5v13M15.5 5.5v13" stroke-width="3.2"/>`)}
    </button>
    <button type="button" class="mute">
      ${icon(`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z" fill="currentColor"/>
        <path class="when-muted" d="m16 9.5 5 5m0-5-5 5"/>
        <path class="when-loud" d="M15.5 9a4.2 4.2 0 0 1 0 6m2.6-8.6a7.9 7.9 0 0 1 0 11.2"/>`)}
      <span></span>
    </button>
    <input type="range" class="volume" min="0" max="1" step="0.05" aria-label="Volume">
    <p class="silent" hidden>${icon(`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z" fill="currentColor"/>
      <path d="m16 9.5 5 5m0-5-5 5"/>`)}<span>No audio</span></p>
    <p class="viewers" hidden>${icon(`<circle cx="12" cy="8" r="3.6"/>
      <path d="M4.8 19.5a7.2 7.2 0 0 1 14.4 0"/>`)}<span></span> <b>watching</b></p>
    <span class="gap"></span>
    <select class="quality" aria-label="Quality" title="Quality" hidden></select>
    <button type="button" class="stats" aria-pressed="false" aria-label="Statistics" title="Statistics (i)">
      ${icon('<path d="M4.5 19.5v-6m5 6v-10m5 10v-7m5 7v-14"/>')}
    </button>
    <button type="button" class="pip" aria-label="Picture-in-picture" title="Picture-in-picture (p)">
      ${icon(`<rect x="3.5" y="5" width="17" height="14" rx="2"/>
        <rect x="12" y="12" width="6" height="4.5" rx="1" fill="currentColor"/>`)}
    </button>
    <button type="button" class="full" title="Fullscreen (f)">
      ${icon(`<path class="when-window" d="M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15"/>
        <path class="when-full" d="M9 4.5V9H4.5M19.5 9H15V4.5M15 19.5V15h4.5M4.5 15H9v4.5"/>`)}
    </button>
  </div>`;

/** The template of the element's shadow tree. */
export const TEMPLATE = document.createElement("template");
TEMPLATE.innerHTML = MARKUP;

/**
 * Returns the stats as rows of names and values. Rows with `minor` are hidden in a small player.
 */
export function rowsOf(stats) {
  const number = (value, digits) => (value === null ? null : value.toFixed(digits));
  const unit = (text, name) => (text === null ? null : `${text} ${name}`);
  return [
    { name: "First frame", value: unit(number(stats.firstFrame, 0), "ms"), minor: true },
    { name: "Latency", value: latencyOf(stats) },
    { name: "Bitrate", value: rateOf(stats.bitrate) },
    { name: "Frame rate", value: unit(number(stats.frameRate, 0), "fps") },
    { name: "Loss", value: unit(number(stats.loss, 1), "%") },
    { name: "Round trip", value: unit(number(stats.roundTrip, 0), "ms") },
    { name: "Buffer", value: unit(number(stats.buffer, 0), "ms"), minor: true },
    { name: "Resolution", value: stats.width && `${stats.width} × ${stats.height}`, minor: true },
    { name: "Codecs", value: stats.codecs.join(", ") || null, minor: true },
    { name: "Freezes", value: number(stats.freezes, 0), minor: true },
    { name: "Path", value: stats.path, minor: true },
  ].filter(({ value }) => value);
}

/** Latency in milliseconds below which the measurement is too coarse for a number. */
const SMALL_LATENCY = 50;

/** Returns the latency in words, `null` if it is unknown. */
export function latencyOf({ latency, isEstimate }) {
  if (latency !== null && latency < SMALL_LATENCY) return `< ${SMALL_LATENCY} ms`;
  return latency === null ? null : `${isEstimate ? "≈ " : ""}${latency.toFixed(0)} ms`;
}

function rateOf(bits) {
  if (bits === null) return null;
  return bits < 1e6 ? `${(bits / 1e3).toFixed(0)} kbit/s` : `${(bits / 1e6).toFixed(2)} Mbit/s`;
}
