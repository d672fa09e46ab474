/** Client of the admin API for the dashboard. */

import { ROOT } from "./path.js";

/** Key of the token in the session storage, which the browser keeps until the window is closed. */
const TOKEN = "distributary-admin-token";
/** Milliseconds until the feed is requested again. */
const RETRY_INTERVAL = 2_000;

/** A refusal of the gateway, for example because the token is missing. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Stores the token for further requests. */
export function remember(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** Sends a request to a path below the gateway's root. Returns the JSON of the response, if any. */
export async function ask(method, path) {
  const response = await request(method, path);
  return response.status === 204 ? null : response.json();
}

/**
 * Follows the feed while the page is open. Calls `onSnapshot` once a second, and `onError` when the
 * feed ends. Requests the feed again, except after 401.
 */
export async function follow(onSnapshot, onError) {
  for (;;) {
    try {
      const response = await request("GET", "api/events");
      await read(response.body, onSnapshot);
      onError(new Error("The gateway has ended the feed."));
    } catch (error) {
      onError(error);
      if (error.status === 401) return;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL));
  }
}

async function request(method, path) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${ROOT}${path}`, { method, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new Refusal(response.status, problem?.detail ?? `Status ${response.status}`);
}

/** Reads server-sent events (HTML standard, section 9.2). `EventSource` cannot send a token. */
async function read(body, onSnapshot) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) onSnapshot(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
    }
  }
}
