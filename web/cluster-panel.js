/** The cluster on the dashboard: its nodes with their load, and the streams of other nodes. */

import { ask } from "./admin.js";
import { make } from "./elements.js";

/** Milliseconds between two requests. */
const INTERVAL = 2_000;

/** Shows the cluster in a section, and keeps it up to date. The section stays hidden without one. */
export function followCluster(section) {
  const update = async () => {
    if (document.hidden) return;
    const answer = await ask("GET", "api/cluster").catch(() => null);
    if (answer) show(section, answer.cluster);
  };
  update();
  setInterval(update, INTERVAL);
}

function show(section, cluster) {
  section.hidden = cluster === null;
  if (cluster === null) return;
  const { node, problem, nodes, streams } = cluster;
  const notice = section.querySelector(".notice");
  notice.hidden = problem === null;
  notice.textContent = problem ?? "";
  const owned = new Map();
  for (const { name, node } of streams) owned.set(node, [...(owned.get(node) ?? []), name]);
  section.querySelector("tbody").replaceChildren(...nodes.map((one) => row(one, one.name === node, owned)));
}

function row(one, isThis, owned) {
  const { name, zone, version, url, load_percent, cpu_percent, viewers, streams, draining } = one;
  const names = owned.get(name) ?? [];
  const shown = names.slice(0, MAX_NAMES).join(", ");
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : "";
  const texts = [
    [name, isThis ? "(this one)" : "", draining ? "(draining)" : ""].filter(Boolean).join(" "),
    zone,
    `${load_percent} %`,
    cpu_percent === null ? "–" : `${cpu_percent} %`,
    String(viewers),
    shown ? `${streams}: ${shown}${more}` : String(streams),
    url ?? "not set",
    version,
  ];
  return make("tr", {}, ...texts.map((textContent) => make("td", { textContent })));
}

/** Maximum names of streams of one node in the table. */
const MAX_NAMES = 10;
