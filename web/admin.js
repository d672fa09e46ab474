/** What the dashboard asks of the admin API, and what it is told. */

import { ROOT } from "./path.js";

/** Where the token is kept, until the window is closed. */
const TOKEN = "distributary-admin-token";
/** Pause before the feed is asked for again, in milliseconds. */
const AGAIN = 2_000;

/** The gateway refuses, or wants a token. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Remembers the token to be shown. */
export function remember(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** Asks something of the API, by its path from the gateway's root; gives the JSON it answers, if any. */
export async function ask(method, path) {
  const response = await request(method, path);
  return response.status === 204 ? null : response.json();
}

/**
 * Follows the feed for as long as the page is open: `onSnapshot` is called once a second, `onError` when
 * the feed ends; it is asked for again, but for a lack of the right token.
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
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
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

/** Reads server-sent events (HTML standard, section 9.2); those of the browser can show no token. */
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
