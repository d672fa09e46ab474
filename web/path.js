/** Where streams are, as paths of this gateway. */

/**
 * The path of the gateway's root. It is found from where this very file is: a proxy may serve the gateway under a
 * path of its own.
 */
export const ROOT = new URL("../", import.meta.url).pathname;

/** A stream's name as the path of a URL. */
export function pathOf(stream) {
  return stream.split("/").map(encodeURIComponent).join("/");
}

/** The WHEP endpoint of a stream. */
export function endpointOf(stream) {
  return `${ROOT}whep/${pathOf(stream)}`;
}
