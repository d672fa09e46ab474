/** The dashboard: live streams, viewers, their stats, and what happened. */

import { Blocks, Events, showEnded } from "./activity.js";
import { ask, follow, remember } from "./admin.js";
import { followCluster } from "./cluster-panel.js";
import { setUpDoctor } from "./doctor.js";
import { make, setText } from "./elements.js";
import { Graph } from "./graph.js";
import { isLoopback } from "./path.js";
import { StreamCard } from "./stream-card.js";
import { StreamTable } from "./stream-table.js";
import { age, bytes, count, millis, rate } from "./words.js";

/** What a tile shows, where its name does not say it all. */
const EXPLAINED = {
  "Joins, 5 min": "Viewers who asked for a stream in the last five minutes, and those whose connection came about",
  "Limited viewers": "Viewers whose network carries less than their stream needs: they get a smaller rendition, or fewer frames",
  "Failed joins, 5 min": "Viewers who asked for a stream in the last five minutes and whose connection did not come about",
  In: "What publishers send",
  Out: "What viewers are sent",
  "In to out, p99": "Time from the arrival of a frame until it is sent to the last viewer; 99 of 100 frames take no longer",
  Transcoders: "Running ffmpeg processes, which make renditions",
  Link: "What this machine sends through its network interface, and what that can carry",
  Memory: "Memory of the gateway's process",
  "Open files": "Files and connections of the gateway's process, which the system limits",
};

/** Milliseconds until the blocks are requested again: others block, too, and blocks end. */
const BLOCKS_INTERVAL = 10_000;

const find = (selector) => document.querySelector(selector);
const events = new Events();
const blocks = new Blocks(act);
const table = new StreamTable((stream) => new StreamCard(stream, { act, confirm, block }, addresses));
const totals = {
  viewers: new Graph("Viewers", (value) => String(value), 4),
  received_bps: new Graph("Received", rate, 1e5),
  sent_bps: new Graph("Sent", rate, 1e5),
  cpu_percent: new Graph("CPU", (value) => `${value} %`, 10),
};
let addresses = null;
let viewers = 0;
let isLoaded = false;

function show({ server, streams, ended }) {
  link("live", "Connected");
  addresses = addressesOf(server);
  find("#board").hidden = false;
  setText(find("#version"), server.version);
  find("#draining").hidden = !server.draining;
  find("#drain").parentElement.hidden = server.draining;
  find("#none").hidden = streams.length > 0;
  find("#streams").hidden = streams.length === 0;
  tiles(server, streams);
  table.show(streams);
  showEnded(ended);
  if (!isLoaded) load();
}

/**
 * Returns the URLs for others, up to the name of a stream. The host of this page is one of the
 * gateway, unless only this machine reaches it.
 */
function addressesOf({ addresses, rtmp_port, http_port }) {
  const host = location.hostname;
  if (isLoopback(host)) return addresses;
  const http = `http://${host}:${http_port}/`;
  return { watch: http, whep: `${http}whep/`, rtmp: `rtmp://${host}:${rtmp_port}/` };
}

/** Loads what the feed does not send. */
async function load() {
  isLoaded = true;
  find("#totals").append(...Object.values(totals).map(({ element }) => element));
  blocks.update();
  setInterval(() => document.hidden || blocks.update(), BLOCKS_INTERVAL);
  followCluster(find("#cluster"));
  const history = await ask("GET", "api/history").catch(() => null);
  for (const [key, graph] of Object.entries(totals)) if (history) graph.fill(history[key]);
}

function tiles(server, streams) {
  const sum = (valueOf) => streams.reduce((total, stream) => total + valueOf(stream), 0);
  const received = sum(({ video, audio }) => (video?.bitrate_bps ?? 0) + (audio?.bitrate_bps ?? 0));
  const sent = sum(({ viewers }) => viewers.bitrate_bps);
  viewers = sum(({ viewers }) => viewers.connected);
  const { process, transcoders } = server;
  totals.viewers.push(viewers);
  totals.received_bps.push(received);
  totals.sent_bps.push(sent);
  totals.cpu_percent.push(process.cpu_percent);
  const known = (value, text) => (value === null ? "–" : text);
  const values = [
    ["Streams", String(streams.length)],
    ["Viewers", String(viewers)],
    ["Joins, 5 min", joins(server.joins.recent)],
    ["Limited viewers", String(sum(({ viewers }) => viewers.limited))],
    ["Failed joins, 5 min", String(failedJoins(server.joins.recent))],
    ["In", rate(received)],
    ["Out", rate(sent)],
    ["In to out, p99", millis(server.fan_out.p99_ms)],
    ["Transcoders", `${transcoders.running}`],
    [`CPU, ${count(process.cores, "core")}`, known(process.cpu_percent, `${process.cpu_percent} %`)],
    ["Link", linkOf(server.link)],
    ["Memory", known(process.memory_bytes, memoryOf(process.memory_bytes, server.memory))],
    ["Open files", known(process.open_files, String(process.open_files))],
    ["Uptime", age(server.uptime_seconds)],
  ];
  const list = find("#tiles");
  if (list.children.length !== values.length) {
    list.replaceChildren(
      ...values.map(([name]) => {
        const title = EXPLAINED[name] ?? "";
        return make("div", { title }, make("dt", { textContent: name }), make("dd"));
      }),
    );
  }
  for (const [at, [, value]] of values.entries()) setText(list.children[at].lastElementChild, value);
}

/** Returns the memory in use, its budget, and what gives way when it is short. */
function memoryOf(used, { budget_bytes: budget, pressure }) {
  const short = {
    none: "",
    publishers: ", no new publishers",
    gops: ", no new publishers, small GOPs",
    viewers: ", no new publishers and viewers",
  };
  const limit = budget === null ? "" : ` of ${bytes(budget)}`;
  return `${bytes(used)}${limit}${short[pressure]}`;
}

/** Returns what the machine sends through its link, and what that carries. */
function linkOf(link) {
  if (!link || link.sent_bps === null) return "–";
  const capacity = link.capacity_bps === null ? "" : ` of ${rate(link.capacity_bps)}`;
  return `${rate(link.sent_bps)}${capacity}, ${link.interface}`;
}

/** Returns the outcomes of joins in words. */
function joins({ asked, connected }) {
  return `${asked} asked, ${connected} connected`;
}

/** Returns how many viewers could not connect, for any reason. */
function failedJoins({ failed }) {
  return Object.values(failed).reduce((sum, number) => sum + number, 0);
}

/**
 * Sends a request. If it fails, shows the error until the next action. Returns whether it succeeded.
 */
async function act(method, path, body = null) {
  const failure = find("#failure");
  failure.hidden = true;
  try {
    await ask(method, path, body);
    return true;
  } catch (error) {
    failure.textContent = error.status
      ? `The action failed: ${error.message}`
      : "The action failed: the gateway does not respond.";
    failure.hidden = false;
    return false;
  }
}

/** Asks the user to confirm an action. */
function confirm(question, word) {
  return answerOf(question, word, false);
}

/** Asks for how long to block somebody, and does it. */
async function block(who, target) {
  const question = `Block: ${who}? They are disconnected, and refused until the time is over or the gateway restarts.`;
  if (!(await answerOf(question, "Block", true))) return;
  const seconds = Number(find("#duration").value);
  if (await act("POST", "api/blocks", { ...target, seconds })) blocks.update();
}

function answerOf(question, word, hasDuration) {
  const dialog = find("#ask");
  setText(find("#question"), question);
  find("#for").hidden = !hasDuration;
  setText(dialog.querySelector("[value=yes]"), word);
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

function start() {
  follow({ snapshot: show, journal: ({ entries }) => events.add(entries) }, lost);
}

find("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(find("#token").value);
  find("#sign-in").hidden = true;
  start();
});

find("#drain").addEventListener("click", async () => {
  const question = `Stop accepting viewers? ${count(viewers, "viewer")} will stay connected.`;
  if (await confirm(question, "Drain")) act("POST", "api/drain");
});
find("#undrain").addEventListener("click", () => act("DELETE", "api/drain"));

setUpDoctor(find("#examine"), find("#doctor"));

start();
