/** Formats values for people. */

/** Formats bits per second. */
export function rate(bits) {
  if (bits < 1e6) return `${(bits / 1e3).toFixed(0)} kbit/s`;
  if (bits < 1e9) return `${(bits / 1e6).toFixed(bits < 1e7 ? 2 : 1)} Mbit/s`;
  return `${(bits / 1e9).toFixed(2)} Gbit/s`;
}

/** Formats a duration in seconds, in one piece. */
export function age(seconds) {
  return parts(seconds).join("\u00a0");
}

function parts(seconds) {
  if (seconds < 60) return [seconds, "s"];
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return [minutes, "min"];
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? [hours, "h", minutes % 60, "min"] : [Math.floor(hours / 24), "days"];
}

/** Formats milliseconds; a dash for `null`. */
export function millis(value) {
  return value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** Formats an amount of memory. */
export function bytes(value) {
  return value < 1e9 ? `${(value / 1e6).toFixed(0)} MB` : `${(value / 1e9).toFixed(2)} GB`;
}

/** Formats a count with the singular or plural of a word. */
export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
