/** The front page: what is live, and one of it playing. */

import { PlayerView, pathOf } from "/assets/view.js";

/** Milliseconds between two looks at the list. */
const POLL_INTERVAL = 2_000;

const list = document.querySelector("#streams");
const stage = document.querySelector("#stage");
const empty = document.querySelector("#empty");
const notice = document.querySelector("#notice");
const template = document.querySelector("#stream");

let view = null;
let selected = null;

async function poll() {
  try {
    const live = await get("/api/live");
    notice.hidden = true;
    show(live.streams);
    instruct(live);
  } catch {
    notice.hidden = false;
  }
  setTimeout(poll, POLL_INTERVAL);
}

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function show(streams) {
  empty.hidden = streams.length > 0 || selected !== null;
  document.querySelector("#live").hidden = !empty.hidden;
  document.querySelector("#none").hidden = streams.length > 0;
  if (selected === null && streams.length > 0) select(streams[0].name);
  render(streams);
}

/** Brings the list up to date in place, so that focus and selection stay where they are. */
function render(streams) {
  const rows = new Map([...list.children].map((row) => [row.dataset.name, row]));
  for (const [at, stream] of streams.entries()) {
    const row = rows.get(stream.name) ?? newRow(stream.name);
    rows.delete(stream.name);
    row.querySelector(".stream-facts").textContent = facts(stream);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  }
  for (const row of rows.values()) row.remove();
  mark();
}

function newRow(name) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.name = name;
  row.querySelector(".stream-name").textContent = name;
  row.querySelector("button").addEventListener("click", () => select(name));
  const link = row.querySelector("a");
  link.href = `/${pathOf(name)}`;
  link.setAttribute("aria-label", `Open the page of ${name}`);
  return row;
}

function select(name) {
  if (name === selected) return;
  selected = name;
  if (view === null) {
    view = new PlayerView();
    stage.prepend(view.element);
    // For the browser's console: `await view.player.stats()`.
    globalThis.view = view;
  }
  view.show(name);
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

function age(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Writes the addresses of this very gateway into the instructions. */
function instruct({ version, rtmp_port }) {
  const port = rtmp_port === 1935 ? "" : `:${rtmp_port}`;
  for (const place of document.querySelectorAll("[data-rtmp]")) {
    place.textContent = `rtmp://${location.hostname}${port}${place.dataset.rtmp}`;
  }
  document.querySelector("#version").textContent = version;
}

poll();
