/** Pauses between attempts that fail. */

/** Seconds after consecutive failed attempts. */
const PAUSES = [1, 2, 4, 8, 10];

/** Returns the pause in seconds after so many failed attempts before the last one. */
export function backoff(failures) {
  return PAUSES[Math.min(failures, PAUSES.length - 1)];
}

/**
 * Returns the milliseconds of a pause of so many seconds, up to a fifth more at random: a thousand pages
 * should not retry at the same time.
 */
export function spread(seconds) {
  return seconds * 1000 * (1 + Math.random() / 5);
}
