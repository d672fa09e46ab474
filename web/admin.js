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

/**
 * Sends a request to a path below the gateway's root, with a body that is sent as JSON if there is
 * one. Returns the JSON of the response, if any.
 */
export async function ask(method, path, body = null) {
  const response = await request(method, path, body);
  return response.status === 204 ? null : response.json();
}

/** Requests a path below the gateway's root. Returns the response. */
export function fetchFrom(path) {
  return request("GET", path);
}

/**
 * Follows the feed while the page is open. Calls the function of `handlers` that has the name of an
 * event, and `onError` when the feed ends. Requests the feed again, except after 401.
 */
export async function follow(handlers, onError) {
  for (;;) {
    try {
      const response = await request("GET", "api/events");
      await read(response.body, handlers);
      onError(new Error("The gateway has ended the feed."));
    } catch (error) {
      onError(error);
      if (error.status === 401) return;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL));
  }
}

async function request(method, path, body = null) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(`${ROOT}${path}`, {
    method,
    headers,
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new Refusal(response.status, problem?.detail ?? `Status ${response.status}`);
}

/** Reads server-sent events (HTML standard, section 9.2). `EventSource` cannot send a token. */
async function read(body, handlers) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const lines = event.split("\n");
      const fields = (name) =>
        lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1));
      const [kind] = fields("event");
      const data = fields("data");
      if (data.length > 0) handle(handlers[kind?.trim()], data.join("\n"));
    }
  }
}

/** Calls a handler, if any. Its mistakes must not look like a gateway that does not respond. */
function handle(handler, data) {
  try {
    handler?.(JSON.parse(data));
  } catch (error) {
    console.error(error);
  }
}
