/** The dashboard: live streams, viewers and their stats. */

import { ask, follow, remember } from "./admin.js";
import { StreamCard } from "./stream-card.js";
import { age, count, millis, rate } from "./words.js";

const find = (selector) => document.querySelector(selector);
const cards = new Map();

function show({ server, streams }) {
  link("live", "Live");
  find("#board").hidden = false;
  find("#version").textContent = server.version;
  find("#draining").hidden = !server.draining;
  find("#drain").parentElement.hidden = server.draining;
  find("#none").hidden = streams.length > 0;
  tiles(server, streams);
  const gone = new Set(cards.keys());
  for (const [at, stream] of streams.entries()) {
    gone.delete(stream.name);
    const card = cards.get(stream.name) ?? addCard(stream.name);
    card.show(stream);
    const current = find("#streams").children[at];
    if (current !== card.element) find("#streams").insertBefore(card.element, current ?? null);
  }
  for (const name of gone) {
    cards.get(name).element.remove();
    cards.delete(name);
  }
}

function addCard(name) {
  const card = new StreamCard(name, { act, confirm });
  cards.set(name, card);
  // With one stream, its viewers are shown at once.
  if (cards.size === 1) card.open();
  return card;
}

function tiles(server, streams) {
  const sum = (valueOf) => streams.reduce((total, stream) => total + valueOf(stream), 0);
  const incoming = sum(({ video, audio }) => (video?.bitrate_bps ?? 0) + (audio?.bitrate_bps ?? 0));
  const values = [
    ["Streams", String(streams.length)],
    ["Viewers", String(sum(({ viewers }) => viewers.connected))],
    ["Slow paths", String(sum(({ viewers }) => viewers.limited))],
    ["In", rate(incoming)],
    ["Out", rate(sum(({ viewers }) => viewers.bitrate_bps))],
    ["In to out, p99", millis(server.fan_out.p99_ms)],
    ["Uptime", age(server.uptime_seconds)],
  ];
  const list = find("#tiles");
  if (list.children.length !== values.length) {
    list.replaceChildren(...values.map(([name]) => tile(name)));
  }
  for (const [at, [, value]] of values.entries()) {
    list.children[at].querySelector("dd").textContent = value;
  }
}

function tile(name) {
  const [box, title, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  title.textContent = name;
  box.append(title, value);
  return box;
}

/** Sends a request, and shows an error if it fails. */
async function act(method, path) {
  try {
    await ask(method, path);
  } catch (error) {
    link("lost", error.message);
  }
}

/** Asks the user to confirm an action. */
function confirm(question, word) {
  const dialog = find("#ask");
  find("#question").textContent = question;
  dialog.querySelector("[value=yes]").textContent = word;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function link(state, text) {
  const element = find("#link");
  if (element.dataset.state === state && element.textContent === text) return;
  element.dataset.state = state;
  element.textContent = text;
}

function lost(error) {
  if (error.status === 401) {
    link("lost", "Not signed in");
    find("#board").hidden = true;
    find("#sign-in").hidden = false;
    find("#refused").hidden = sessionStorage.length === 0;
    find("#refused").textContent = error.message;
    find("#token").focus();
    return;
  }
  link("lost", error.status ? error.message : "The gateway does not respond. Trying again…");
}

find("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(find("#token").value);
  find("#sign-in").hidden = true;
  follow(show, lost);
});

find("#drain").addEventListener("click", async () => {
  const viewers = [...cards.values()].reduce((total, card) => total + card.viewers, 0);
  const question = `Stop accepting viewers? ${count(viewers, "viewer")} will stay connected.`;
  if (await confirm(question, "Drain")) act("POST", "api/drain");
});
find("#undrain").addEventListener("click", () => act("DELETE", "api/drain"));

follow(show, lost);
