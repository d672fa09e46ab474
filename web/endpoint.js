/** URLs of WHEP endpoints. */

/** Returns the URL that a text means at `base`; `null` if it is none. */
export function toUrl(text, base) {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}

/**
 * Returns an endpoint with the query of another: the same token and wishes elsewhere.
 *
 * @param {URL} endpoint
 * @param {URL} other
 */
export function withQuery(endpoint, other) {
  const url = new URL(endpoint);
  for (const [name, value] of other.searchParams) {
    if (!url.searchParams.has(name)) url.searchParams.append(name, value);
  }
  return url;
}

/**
 * Returns an endpoint as `withQuery` does, for a session at this very gateway: it does not redirect the
 * player, perhaps back to the gateway that it leaves.
 */
export function atNode(endpoint, other) {
  const url = withQuery(endpoint, other);
  url.searchParams.set("redirected", "1");
  return url;
}
