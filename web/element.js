/** The player as one sees it: `<distributary-player>`, described in `player.js`. */

import { TEMPLATE, rowsOf } from "./element-markup.js";
import { STYLE } from "./element-style.js";
import { Player } from "./playback.js";

/** Change of volume by an arrow key. */
const VOLUME_STEP = 0.1;
/** Milliseconds between two changes of the figures that are shown: more often, nobody can read them. */
const FIGURES_INTERVAL = 1_000;

/** See `player.js`. */
export class DistributaryPlayer extends HTMLElement {
  static observedAttributes = ["src", "token", "muted", "stats", "label"];

  #root = this.attachShadow({ mode: "open" });
  #player = null;
  #notice = "";
  #viewers = null;
  #figuresAt = 0;
  /** What ends with the element's stay in the page. */
  #stay = null;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [STYLE];
    this.#root.append(TEMPLATE.content.cloneNode(true));
    this.#listen();
  }

  connectedCallback() {
    this.dataset.state ??= "stopped";
    if (!this.hasAttribute("role")) this.setAttribute("role", "region");
    if (!this.hasAttribute("tabindex")) this.tabIndex = -1;
    this.#stay = new AbortController();
    const { signal } = this.#stay;
    addEventListener("pagehide", () => this.#player?.stop(), { signal });
    // A page taken back from the browser's cache, a network that is there again, a tab that is looked
    // at: no reason to wait for the next attempt.
    const again = () => this.dataset.state !== "stopped" && this.#player?.start();
    addEventListener("pageshow", ({ persisted }) => persisted && this.#player?.start(), { signal });
    addEventListener("online", again, { signal });
    document.addEventListener("visibilitychange", () => document.hidden || again(), { signal });
    document.addEventListener("fullscreenchange", () => this.#showFullscreen(), { signal });
    this.video.muted = this.hasAttribute("muted");
    this.#showSound();
    this.#showFullscreen();
    this.#showLabel();
    this.#part("pip").hidden = !document.pictureInPictureEnabled;
    this.#part("full").hidden = !document.fullscreenEnabled && !this.video.webkitEnterFullscreen;
    if (this.hasAttribute("autoplay")) this.play();
  }

  disconnectedCallback() {
    this.#stay.abort();
    this.stop();
  }

  attributeChangedCallback(name, before, now) {
    if (before === now || !this.isConnected) return;
    if (name === "src" || name === "token") this.#change();
    else if (name === "muted") this.muted = now !== null;
    else if (name === "stats") this.#showFigures();
    else this.#showLabel();
  }

  /** The video element. */
  get video() {
    return this.#root.querySelector("video");
  }

  /** The `Player` behind it, or `null` before `play()`. */
  get player() {
    return this.#player;
  }

  /** What it is doing: `{ state, text }`. */
  get state() {
    return this.#player?.state ?? { state: "stopped", text: "Stopped" };
  }

  /** The newest figures, or `null`. */
  get figures() {
    return this.#player?.figures ?? null;
  }

  get src() {
    return this.getAttribute("src");
  }

  set src(url) {
    this.setAttribute("src", url);
  }

  get muted() {
    return this.video.muted;
  }

  set muted(isMuted) {
    this.video.muted = isMuted;
    if (this.video.paused && this.#player) this.video.play().catch(() => {});
  }

  get volume() {
    return this.video.volume;
  }

  set volume(volume) {
    this.video.volume = Math.min(Math.max(volume, 0), 1);
  }

  /** A remark shown over the picture; empty for none. */
  get notice() {
    return this.#notice;
  }

  set notice(text) {
    this.#notice = text ?? "";
    this.#part("notice").textContent = this.#notice;
    this.#part("notice").hidden = this.#notice === "";
  }

  /** Plays what `src` names, or tries again at once. */
  play() {
    if (!this.src) return;
    this.#player ??= this.#makePlayer();
    this.#player.start();
  }

  /** Stops, and lets go of the session. */
  stop() {
    this.#player?.stop();
    this.#player = null;
    this.video.srcObject = null;
    this.#showViewers(null);
  }

  /** Viewers of the stream, where the gateway tells; else `null`. */
  get viewers() {
    return this.#viewers;
  }

  /** Shows the player on the whole screen, or no longer. */
  async toggleFullscreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (this.requestFullscreen) return this.requestFullscreen();
    // An iPhone shows nothing but videos so.
    return this.video.webkitEnterFullscreen();
  }

  /** Shows the picture in a small window above all others, or no longer. */
  async togglePictureInPicture() {
    if (document.pictureInPictureElement) return document.exitPictureInPicture();
    return this.video.requestPictureInPicture();
  }

  #makePlayer() {
    const options = {
      token: this.getAttribute("token"),
      data: this.hasAttribute("data"),
      events: this.hasAttribute("events"),
    };
    const player = new Player(this.video, this.src, options);
    const pass = (type, show) => {
      player.addEventListener(type, ({ detail }) => {
        if (this.#player !== player) return;
        show(detail);
        this.dispatchEvent(new CustomEvent(type, { detail }));
      });
    };
    pass("statechange", (state) => this.#showState(state));
    pass("figures", () => this.#showFigures());
    pass("data", () => {});
    pass("event", (event) => this.#hear(event));
    return player;
  }

  /** Shows what the gateway tells. */
  #hear({ kind, data }) {
    if (kind === "viewercount") this.#showViewers(data.viewercount);
    else if (kind === "notice") this.notice = data.notice;
    else if (kind === "inactive") this.notice = "";
  }

  #showViewers(count) {
    this.#viewers = count;
    const shown = this.#part("viewers");
    shown.hidden = count === null;
    shown.textContent = count === null ? "" : `${count} watching`;
  }

  /** Plays something else, if anything. */
  #change() {
    const isPlaying = this.#player !== null;
    this.stop();
    if (isPlaying || this.hasAttribute("autoplay")) this.play();
  }

  #listen() {
    const on = (name, act) => this.#part(name).addEventListener("click", act);
    on("play", () => {
      this.play();
      this.focus();
    });
    on("sound", () => this.#toggleSound());
    on("stats", () => this.toggleAttribute("stats"));
    on("pip", () => this.togglePictureInPicture().catch(() => {}));
    on("full", () => this.toggleFullscreen().catch(() => {}));
    this.#part("volume").addEventListener("input", ({ target }) => {
      this.volume = target.value;
    });
    this.video.addEventListener("volumechange", () => this.#showSound());
    this.video.addEventListener("dblclick", () => this.toggleFullscreen().catch(() => {}));
    this.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isSlider = event.composedPath()[0] === this.#part("volume");
    const act = {
      m: () => this.#toggleSound(),
      f: () => this.toggleFullscreen(),
      i: () => this.toggleAttribute("stats"),
      p: () => this.togglePictureInPicture(),
      ArrowUp: isSlider ? null : () => this.#turn(VOLUME_STEP),
      ArrowDown: isSlider ? null : () => this.#turn(-VOLUME_STEP),
    }[event.key];
    if (!act || this.dataset.state === "stopped") return;
    event.preventDefault();
    Promise.resolve(act()).catch(() => {});
  }

  #turn(step) {
    this.volume += step;
    this.muted = this.volume === 0;
  }

  #toggleSound() {
    this.muted = !this.muted;
    if (!this.muted && this.volume === 0) this.volume = 1;
  }

  #showState({ state, text }) {
    // Screen readers are told of a change, not of every second that passes.
    if (this.dataset.state !== state) this.#root.querySelector("[role=status]").textContent = text;
    this.dataset.state = state;
    this.#part("words").textContent = text;
    if (state !== "live" && state !== "stalled") this.#showFigures();
  }

  #showSound() {
    const { muted, volume } = this.video;
    const sound = this.#part("sound");
    sound.toggleAttribute("data-muted", muted);
    sound.querySelector("span").textContent = muted ? "Unmute" : "Mute";
    sound.title = `${muted ? "Unmute" : "Mute"} (m)`;
    this.#part("volume").value = volume;
  }

  #showFigures() {
    const { figures } = this;
    const isWanted = this.hasAttribute("stats");
    const list = this.#part("figures");
    this.#part("stats").setAttribute("aria-pressed", String(isWanted));
    const wasHidden = list.hidden;
    list.hidden = !isWanted || figures === null;
    const now = performance.now();
    if (list.hidden || (!wasHidden && now - this.#figuresAt < FIGURES_INTERVAL)) return;
    this.#figuresAt = now;
    list.replaceChildren(
      ...rowsOf(figures).flatMap(({ name, value, minor }) =>
        [["dt", name], ["dd", value]].map(([tag, text]) => {
          const cell = document.createElement(tag);
          cell.textContent = text;
          cell.classList.toggle("minor", Boolean(minor));
          return cell;
        }),
      ),
    );
  }

  #showFullscreen() {
    const isFull = document.fullscreenElement === this;
    this.#part("full").setAttribute("aria-label", isFull ? "Exit fullscreen" : "Fullscreen");
  }

  #showLabel() {
    const label = this.getAttribute("label");
    this.setAttribute("aria-label", label ? `Player: ${label}` : "Player");
    this.video.setAttribute("aria-label", label ? `Live video of ${label}` : "Live video");
  }

  #part(name) {
    return this.#root.querySelector(`.${name}`);
  }
}

if (!customElements.get("distributary-player")) {
  customElements.define("distributary-player", DistributaryPlayer);
}
