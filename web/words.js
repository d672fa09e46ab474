/** Figures in words. */

/** Bits per second. */
export function rate(bits) {
  if (bits < 1e6) return `${(bits / 1e3).toFixed(0)} kbit/s`;
  if (bits < 1e9) return `${(bits / 1e6).toFixed(bits < 1e7 ? 2 : 1)} Mbit/s`;
  return `${(bits / 1e9).toFixed(2)} Gbit/s`;
}

/** A time that has passed. */
export function age(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** Milliseconds, or a dash. */
export function millis(value) {
  return value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** How many, with the right form of the word. */
export function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
