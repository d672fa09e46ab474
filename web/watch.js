/** The page of one stream: `/{app}/{stream}`. */

import { PlayerView } from "/assets/view.js";

const stream = decodeURIComponent(location.pathname).replace(/^\/|\/$/g, "");
const view = new PlayerView();

document.title = `${stream} · Distributary`;
document.querySelector("#name").textContent = stream;
document.querySelector("#player").replaceWith(view.element);
view.show(stream);

// For the browser's console: `await view.player.stats()`.
globalThis.view = view;
