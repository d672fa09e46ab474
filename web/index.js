/** The front page: the live streams, and a player. */

import "./player.js";
import { ROOT, endpointOf, pathOf } from "./path.js";
import { age } from "./words.js";

/** Milliseconds between two requests for the list. */
const POLL_INTERVAL = 2_000;

const list = document.querySelector("#streams");
const stage = document.querySelector("#stage");
const empty = document.querySelector("#empty");
const notice = document.querySelector("#notice");
const template = document.querySelector("#stream");

let player = null;
let selected = null;

async function poll() {
  try {
    const response = await fetch(`${ROOT}api/live`);
    if (response.status === 404) return hide();
    if (!response.ok) throw new Error(`status ${response.status}`);
    const live = await response.json();
    notice.hidden = true;
    show(live.streams);
    instruct(live);
  } catch {
    notice.hidden = false;
  }
  setTimeout(poll, POLL_INTERVAL);
}

/** Shows that the gateway does not list its streams. */
function hide() {
  empty.querySelector("h1").textContent = "Streams are not listed here";
  empty.querySelector("p").textContent = "To watch a stream, add its name to the address of this page, as in /live/test.";
  empty.hidden = false;
  document.querySelector(".publish").hidden = true;
}

function show(streams) {
  empty.hidden = streams.length > 0 || selected !== null;
  document.querySelector("#live").hidden = !empty.hidden;
  document.querySelector("#none").hidden = streams.length > 0;
  if (selected === null && streams.length > 0) select(streams[0].name);
  render(streams);
}

/** Updates the list in place, so that it keeps focus and selection. */
function render(streams) {
  const rows = new Map([...list.children].map((row) => [row.dataset.name, row]));
  for (const [at, stream] of streams.entries()) {
    const row = rows.get(stream.name) ?? newRow(stream);
    rows.delete(stream.name);
    row.querySelector(".stream-facts").textContent = facts(stream);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  }
  for (const row of rows.values()) row.remove();
  mark();
}

function newRow({ name, has_page }) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.name = name;
  row.querySelector(".stream-name").textContent = name;
  row.querySelector("button").addEventListener("click", () => select(name));
  const link = row.querySelector("a");
  link.href = `${ROOT}${pathOf(name)}`;
  link.setAttribute("aria-label", `Open the page of ${name}`);
  link.hidden = !has_page;
  return row;
}

function select(name) {
  if (name === selected) return;
  selected = name;
  if (player === null) {
    player = document.createElement("distributary-player");
    player.toggleAttribute("page-keys", true);
    player.toggleAttribute("muted", true);
    player.toggleAttribute("remember", true);
    player.toggleAttribute("autoplay", true);
    // For the browser's console: `await player.player.getStats()`.
    globalThis.player = player;
  }
  player.src = endpointOf(name);
  player.setAttribute("label", name);
  if (!player.isConnected) stage.prepend(player);
  document.querySelector("#playing").textContent = name;
  mark();
}

function mark() {
  for (const row of list.children) {
    const isSelected = row.dataset.name === selected;
    row.querySelector("button").setAttribute("aria-pressed", String(isSelected));
  }
}

function facts({ video, audio, uptime_seconds }) {
  const words = [];
  if (video?.width) words.push(`${video.width}×${video.height}`);
  const codecs = [video?.codec, audio?.codec].filter(Boolean);
  if (codecs.length > 0) words.push(codecs.join(" + "));
  words.push(`for ${age(uptime_seconds)}`);
  return words.join(" · ");
}

/** Writes the addresses of this gateway into the instructions. */
function instruct({ version, rtmp_port }) {
  const port = rtmp_port === 1935 ? "" : `:${rtmp_port}`;
  for (const element of document.querySelectorAll("[data-rtmp]")) {
    element.textContent = `rtmp://${location.hostname}${port}${element.dataset.rtmp}`;
  }
  document.querySelector("#version").textContent = version;
}

poll();
