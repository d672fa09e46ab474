/**
 * The page of one stream: `/{app}/{stream}` or `/{stream}`, also for an `<iframe>`.
 *
 * Query parameters: `embed`, only the player; `muted=0`, start with audio if the browser allows it;
 * `autoplay=0`, start with a button; `controls=0`, no buttons; `stats`, show stats; `events=0`, do
 * not listen to events of the gateway; `token`, for a stream that requires one.
 */

import "./player.js";
import { ROOT, endpointOf, pathOf } from "./path.js";

/** Maximum links to streams of an application. */
const MAX_LINKS = 8;

const stream = decodeURIComponent(location.pathname.slice(ROOT.length)).replace(/\/$/, "");
const query = new URLSearchParams(location.search);
const isOn = (name) => !["0", "false", "no"].includes(query.get(name));

const player = document.querySelector("distributary-player");
player.setAttribute("label", stream);
player.toggleAttribute("muted", isOn("muted"));
player.toggleAttribute("remember", !query.has("muted"));
player.toggleAttribute("autoplay", isOn("autoplay"));
player.toggleAttribute("page-keys", !query.has("embed"));
player.toggleAttribute("events", isOn("events"));
player.toggleAttribute("stats", query.has("stats") && isOn("stats"));
if (!isOn("controls")) player.setAttribute("controls", "none");
if (query.has("token")) player.setAttribute("token", query.get("token"));

// Who waits at the path of an application may look for one of its streams.
if (!stream.includes("/") && !query.has("embed")) {
  const hint = document.querySelector("#hint");
  player.addEventListener("statechange", async ({ detail }) => {
    const names = detail.state === "waiting" ? await liveBelow(stream) : [];
    // The state may have changed meanwhile.
    hint.hidden = names.length === 0 || player.dataset.state !== "waiting";
    hint.replaceChildren("Live now: ", ...names.flatMap((name, n) => (n ? [", ", linkTo(name)] : [linkTo(name)])));
  });
}
player.src = endpointOf(stream);

document.title = `${stream} · Distributary`;
document.querySelector("#name").textContent = stream;
document.body.classList.toggle("embed", query.has("embed"));

// For the browser's console: `await player.player.getStats()`.
globalThis.player = player;

/** Returns the names of live streams of an application: those with a page that the gateway lists. */
async function liveBelow(application) {
  try {
    const response = await fetch(`${ROOT}api/live`);
    // Where viewers need permission, streams are not listed.
    const { streams } = response.ok ? await response.json() : { streams: [] };
    const below = streams.filter(({ name, has_page }) => has_page && name.startsWith(`${application}/`));
    return below.slice(0, MAX_LINKS).map(({ name }) => name);
  } catch {
    return [];
  }
}

function linkTo(name) {
  const link = document.createElement("a");
  link.href = `${ROOT}${pathOf(name)}`;
  link.textContent = name;
  return link;
}
