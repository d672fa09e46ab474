/** The session that came with the page: its offer is answered while the player still loads. */

/** Milliseconds until the gateway has to confirm the answer; then the player asks for a session. */
const CONFIRM_TIMEOUT = 3_000;

/**
 * Returns the session for an endpoint that came with this page, and forgets it: a later session of
 * the page, and a page from the browser's cache, needs one of its own.
 *
 * @param {URL | null} endpoint the WHEP endpoint; `null` for a session that it cannot be used for
 */
export function takePrepared(endpoint) {
  const prepared = globalThis.preparedSession ?? null;
  globalThis.preparedSession = null;
  if (!prepared) return null;
  const { origin, pathname } = new URL(prepared.endpoint, location.href);
  if (endpoint?.origin === origin && endpoint.pathname === pathname) return prepared;
  discard(prepared);
  return null;
}

/** Waits until the gateway has taken the answer. Returns its response; `null` if it does not. */
export async function confirm(prepared) {
  const timeout = new Promise((done) => setTimeout(done, CONFIRM_TIMEOUT, null));
  const response = await Promise.race([prepared.answered.catch(() => null), timeout]);
  if (response?.status === 204) return response;
  discard(prepared);
  return null;
}

/**
 * Closes a prepared session that is not used, and takes its media from the video. If the gateway
 * refused the answer, it has had one from another page, to which a cache has sent the same offer:
 * the session is theirs.
 */
function discard({ connection, session, video, answered }) {
  connection.close();
  video.srcObject = null;
  const end = ({ status }) => status === 204 && fetch(session, { method: "DELETE" });
  answered.then(end).catch(() => {});
}
