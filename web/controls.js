/** The buttons and keys of `<distributary-player>`. */

import { Fit } from "./fit.js";
import { Idle } from "./idle.js";
import { showPlayback } from "./media-session.js";
import { recall, remember } from "./preferences.js";

/** Change of the volume by an arrow key. */
const VOLUME_STEP = 0.1;

/** Connects the buttons and keys of a player with what they do, and shows its volume. */
export class Controls {
  #element;
  #root;
  /** Whether the viewer has chosen between audio and none. */
  #isChosen = false;

  /** @param {DistributaryPlayer} player whose shadow tree is complete */
  constructor(player) {
    this.#element = player;
    this.#root = player.shadowRoot;
    this.idle = new Idle(player, "button, input, select, form", ".mute[data-muted]");
    new Fit(this.#part("bar"));
    this.#listen();
  }

  /** Follows the keys of the whole page until `signal` aborts, if the player is to have them. */
  listenToPage(signal) {
    const onKey = (event) => {
      const [target] = event.composedPath();
      const isOther = target.matches?.("input, textarea, select, [contenteditable]");
      if (!this.#element.hasAttribute("page-keys") || event.defaultPrevented || isOther) return;
      // Arrows scroll the page and space uses links: the player has them while it has the focus.
      const isFree = target === document.body;
      if (/^\p{L}$/u.test(event.key) || (isFree && event.key === " ")) this.#onKey(event, isFree);
    };
    document.addEventListener("keydown", onKey, { signal });
  }

  /** Sets the volume with which the player starts, and shows what the browser can do. */
  start() {
    const { video } = this.#element;
    const last = this.#element.hasAttribute("remember") ? recall() : null;
    video.muted = last?.muted ?? this.#element.hasAttribute("muted");
    video.volume = last?.volume ?? video.volume;
    this.#element.quality = this.#element.getAttribute("quality") ?? last?.quality;
    this.#showVolume();
    this.showFullscreen();
    this.#part("pip").hidden = !document.pictureInPictureEnabled;
    this.#part("full").hidden = !document.fullscreenEnabled && !video.webkitEnterFullscreen;
  }

  /** Shows whether the player fills the screen. */
  showFullscreen() {
    const isFull = document.fullscreenElement === this.#element;
    const name = isFull ? "Exit fullscreen" : "Fullscreen";
    this.#element.toggleAttribute("data-full", isFull);
    this.#part("full").setAttribute("aria-label", name);
    this.#part("full").title = `${name} (f)`;
  }

  #listen() {
    const player = this.#element;
    const { video } = player;
    const on = (name, act) => this.#part(name).addEventListener("click", act);
    on("play", () => {
      player.play();
      player.focus({ focusVisible: false });
    });
    on("pause", () => this.#togglePaused());
    on("mute", () => this.#toggleMuted());
    on("stats", () => player.toggleAttribute("stats"));
    on("pip", () => player.togglePictureInPicture().catch(() => {}));
    on("full", () => player.toggleFullscreen().catch(() => {}));
    this.#part("volume").addEventListener("input", ({ target }) => this.#setVolume(target.value));
    this.#part("lock").addEventListener("submit", (event) => {
      event.preventDefault();
      player.setAttribute("token", this.#part("key").value);
    });
    this.#part("quality").addEventListener("change", ({ target }) => {
      player.quality = target.value;
      this.#remember();
    });
    video.addEventListener("volumechange", () => this.#showVolume());
    for (const type of ["play", "pause"]) video.addEventListener(type, () => this.#showPaused());
    video.addEventListener("dblclick", () => player.toggleFullscreen().catch(() => {}));
    video.addEventListener("click", (event) => this.#onVideoClick(event));
    player.addEventListener("keydown", (event) => this.#onKey(event, event.composedPath()[0] === player));
  }

  /**
   * A click on a video that plays without audio because browsers require that at first gives audio. A
   * tap shows the controls.
   */
  #onVideoClick({ pointerType }) {
    const isSilent = this.#element.muted && this.#element.hasAttribute("data-audio");
    const hasControls = this.#element.getAttribute("controls") !== "none";
    if (isSilent && hasControls && !this.#isChosen && pointerType !== "touch") this.#toggleMuted();
  }

  #onKey(event, isOnPlayer) {
    const [target] = event.composedPath();
    if (event.ctrlKey || event.metaKey || event.altKey || target === this.#part("key")) return;
    if (target === this.#part("quality")) return;
    const isSlider = target === this.#part("volume");
    const act = {
      k: () => this.#togglePaused(),
      " ": isOnPlayer && (() => this.#togglePaused()),
      m: () => this.#toggleMuted(),
      f: () => this.#element.toggleFullscreen(),
      i: () => this.#element.toggleAttribute("stats"),
      p: () => this.#element.togglePictureInPicture(),
      ArrowUp: !isSlider && (() => this.#setVolume(this.#element.volume + VOLUME_STEP)),
      ArrowDown: !isSlider && (() => this.#setVolume(this.#element.volume - VOLUME_STEP)),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    Promise.resolve(act()).catch(() => {});
  }

  #togglePaused() {
    const { video, player } = this.#element;
    if (!player || video.paused) this.#element.play();
    else this.#element.pause();
  }

  #toggleMuted() {
    this.#isChosen = true;
    this.#element.muted = !this.#element.muted;
    if (!this.#element.muted && this.#element.volume === 0) this.#element.volume = 1;
    this.#remember();
  }

  #setVolume(volume) {
    this.#isChosen = true;
    this.#element.volume = volume;
    this.#element.muted = this.#element.volume === 0;
    this.#remember();
  }

  #remember() {
    if (this.#element.hasAttribute("remember")) remember(this.#element);
  }

  #showVolume() {
    const { muted, volume } = this.#element.video;
    const button = this.#part("mute");
    button.toggleAttribute("data-muted", muted);
    button.querySelector("span").textContent = muted ? "Unmute" : "Mute";
    button.title = `${muted ? "Unmute" : "Mute"} (m)`;
    this.#part("volume").value = volume;
  }

  #showPaused() {
    const isPaused = this.#element.video.paused && this.#element.player !== null;
    this.#element.toggleAttribute("data-paused", isPaused);
    this.#part("pause").setAttribute("aria-label", isPaused ? "Play" : "Pause");
    this.#part("pause").title = isPaused ? "Play (k)" : "Pause (k)";
    if (this.#element.player) showPlayback(!isPaused);
    this.idle.wake();
  }

  #part(name) {
    return this.#root.querySelector(`.${name}`);
  }
}
