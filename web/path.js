/** Paths of streams on this gateway, and hosts in URLs. */

/**
 * The path of the gateway's root. It is derived from the path of this file, because a proxy may
 * serve the gateway under a path prefix.
 */
export const ROOT = new URL("../", import.meta.url).pathname;

/** Returns a stream's name as a path of a URL. */
export function pathOf(stream) {
  return stream.split("/").map(encodeURIComponent).join("/");
}

/** Returns the path of the WHEP endpoint of a stream. */
export function endpointOf(stream) {
  return `${ROOT}whep/${pathOf(stream)}`;
}

/** Returns the URL of the newest keyframe of a stream, by its WHEP endpoint at a gateway; else `null`. */
export function keyframeOf(endpoint) {
  const { origin, pathname, search } = new URL(endpoint, location.href);
  const [, root, stream] = /^(.*\/)whep\/(.+?)\/?$/.exec(pathname) ?? [];
  return stream ? `${origin}${root}${stream}/keyframe${search}` : null;
}

/** Returns whether a host or address is this machine for itself only. */
export function isLoopback(host) {
  return /^(localhost|127\.[\d.]+|\[?::1\]?)$/.test(host);
}
