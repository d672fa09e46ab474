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

/**
 * Returns the URL of the WHEP endpoint for the `src` of a player: `src` itself, or, if it is the page of a
 * stream on this gateway, the endpoint of that stream.
 */
export function whepOf(src) {
  const { origin, pathname, search } = new URL(src, location.href);
  const isHere = origin === new URL(import.meta.url).origin && pathname.startsWith(ROOT);
  const name = isHere ? pathname.slice(ROOT.length).replace(/\/$/, "") : "";
  // Not the endpoints: ours, and those under which players of other servers look for a stream.
  const isPage = name !== "" && !/^(whep|rtc|api|index)(\/|$)|\/whep$/.test(name);
  return isPage ? `${origin}${ROOT}whep/${name}${search}` : src;
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
