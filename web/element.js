/** The player element `<distributary-player>`, described in `player.js`. */

import { Controls } from "./controls.js";
import { TEMPLATE, latencyOf, rowsOf } from "./element-markup.js";
import { STYLE } from "./element-style.js";
import { yieldToLoad } from "./loading.js";
import { announce, withdraw } from "./media-session.js";
import { keyframeOf, whepOf } from "./path.js";
import { canDraw, draw } from "./thumbnail.js";
import { Player } from "./playback.js";
import { QualityMenu } from "./quality.js";

/** Milliseconds between two updates of the shown stats: readable, not flickering. */
const STATS_INTERVAL = 1_000;
/** Maximum width of the poster in pixels. */
const POSTER_WIDTH = 1_280;
/** Formats the number of viewers. */
const COUNT = new Intl.NumberFormat("en", { notation: "compact" });

/** See `player.js`. */
export class DistributaryPlayer extends HTMLElement {
  static observedAttributes = ["src", "token", "muted", "remember", "stats", "label", "quality"];

  #root = this.attachShadow({ mode: "open" });
  #controls;
  #quality;
  #player = null;
  #notice = "";
  #viewers = null;
  #statsAt = 0;
  /** Aborts what the element does while it is in the page. */
  #connected = null;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [STYLE];
    this.#root.append(TEMPLATE.content.cloneNode(true));
    this.#adopt(this.querySelector(":scope > [slot=video]"));
    const select = (selection) => this.#player?.select(selection);
    this.#quality = new QualityMenu(this, this.#part("quality"), select);
    this.#controls = new Controls(this);
  }

  connectedCallback() {
    this.dataset.state ??= "stopped";
    if (!this.hasAttribute("role")) this.setAttribute("role", "region");
    if (!this.hasAttribute("tabindex")) this.tabIndex = 0;
    this.#connected = new AbortController();
    const { signal } = this.#connected;
    addEventListener("pagehide", () => this.#player?.stop(), { signal });
    // Retry at once when the page comes back from the browser's cache, the network is up again, or
    // the tab becomes visible.
    const again = () => this.dataset.state !== "stopped" && this.#player?.start();
    addEventListener("pageshow", ({ persisted }) => persisted && this.#player?.start(), { signal });
    addEventListener("online", again, { signal });
    document.addEventListener("visibilitychange", () => document.hidden || again(), { signal });
    document.addEventListener("fullscreenchange", () => this.#controls.showFullscreen(), { signal });
    this.#controls.listenToPage(signal);
    this.#controls.start();
    this.#showLabel();
    if (this.hasAttribute("autoplay")) this.play();
    else this.#showPoster();
  }

  disconnectedCallback() {
    this.#connected.abort();
    this.stop();
  }

  attributeChangedCallback(name, before, now) {
    if (before === now || !this.isConnected) return;
    if (name === "src" || name === "token") this.#change();
    else if (name === "muted") this.muted = now !== null;
    else if (name === "remember") this.#controls.start();
    else if (name === "stats") this.#showStats();
    else if (name === "quality") this.quality = now;
    else this.#showLabel();
  }

  /** The video element. */
  get video() {
    return this.querySelector(":scope > [slot=video]") ?? this.#root.querySelector("video");
  }

  /** The `Player` of the element, or `null` before `play()`. */
  get player() {
    return this.#player;
  }

  /** The state in a word, as that of `Player`. */
  get state() {
    return this.#player?.state ?? "stopped";
  }

  /** The state in words for viewers. */
  get text() {
    return this.#player?.text ?? "Stopped";
  }

  /** The error in the gateway's words, or `null`. */
  get reason() {
    return this.#player?.reason ?? null;
  }

  /** The newest stats, or `null`. */
  get stats() {
    return this.#player?.stats ?? null;
  }

  /** Shows the stats, as the attribute does: React and Vue set properties where there are some. */
  set stats(isShown) {
    this.toggleAttribute("stats", Boolean(isShown));
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
    // A value that is set before the element is in the page is the initial one.
    if (!this.isConnected) this.toggleAttribute("muted", Boolean(isMuted));
    this.video.muted = isMuted;
    if (this.video.paused && this.#player) this.video.play().catch(() => {});
  }

  get volume() {
    return this.video.volume;
  }

  set volume(volume) {
    this.video.volume = Math.min(Math.max(volume, 0), 1);
  }

  /** The quality: `auto`, or the id or height of a rendition, such as `720p`. */
  get quality() {
    return this.#quality.choice;
  }

  set quality(choice) {
    this.#quality.choice = choice;
  }

  /** A message shown over the video; empty for none. */
  get notice() {
    return this.#notice;
  }

  set notice(text) {
    this.#notice = text ?? "";
    this.#part("notice").textContent = this.#notice;
    this.#part("notice").hidden = this.#notice === "";
  }

  /** Plays `src`, plays on after `pause()`, or retries at once. */
  play() {
    if (!this.src) return;
    this.#player ??= this.#makePlayer();
    this.#player.resume();
    this.#player.start();
  }

  /** Pauses, and keeps the session. */
  pause() {
    this.#player?.pause();
  }

  /** Stops, and ends the session. */
  stop() {
    this.#player?.stop();
    this.#player = null;
    withdraw(this);
    this.video.srcObject = null;
    this.toggleAttribute("data-audio", false);
    this.toggleAttribute("data-paused", false);
    this.#showMissing({ video: false, audio: false });
    this.#showViewers(null);
    this.#quality.clear();
  }

  /** Number of viewers of the stream, if the gateway sends it; else `null`. */
  get viewers() {
    return this.#viewers;
  }

  /** Enters or leaves full screen. */
  async toggleFullscreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (this.requestFullscreen) return this.requestFullscreen();
    // An iPhone supports full screen for videos only.
    return this.video.webkitEnterFullscreen();
  }

  /** Enters or leaves picture-in-picture. */
  async togglePictureInPicture() {
    if (document.pictureInPictureElement) return document.exitPictureInPicture();
    return this.video.requestPictureInPicture();
  }

  /** Takes over the video that the page has shown before this element was there, if any. */
  #adopt(video) {
    if (!video) return;
    video.ariaHidden = null;
    this.#part("fallback").remove();
    yieldToLoad(video);
  }

  /** Shows the newest keyframe of the stream until it plays, if the browser can draw it. */
  async #showPoster() {
    const { src } = this;
    const keyframe = src && keyframeOf(whepOf(src));
    const canvas = this.#part("poster");
    canvas.hidden = true;
    if (!keyframe || !canDraw()) return;
    const token = this.getAttribute("token");
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch(keyframe, { headers }).catch(() => null);
    // An earlier request may be answered after a later one.
    const isWanted = () => this.src === src;
    if (response && (await draw(response, canvas, POSTER_WIDTH, isWanted))) canvas.hidden = false;
  }

  #makePlayer() {
    const options = {
      token: this.getAttribute("token"),
      data: this.hasAttribute("data"),
      events: this.hasAttribute("events") || this.hasAttribute("quality"),
    };
    const player = new Player(this.video, whepOf(this.src), options);
    const pass = (type, show) => {
      player.addEventListener(type, ({ detail }) => {
        if (this.#player !== player) return;
        show(detail);
        this.dispatchEvent(new CustomEvent(type, { detail }));
      });
    };
    pass("statechange", (state) => this.#showState(state));
    pass("stats", (stats) => this.#onStats(stats));
    pass("missing", (missing) => this.#showMissing(missing));
    pass("data", () => {});
    pass("event", (event) => this.#onEvent(event));
    return player;
  }

  /** Shows an event of the gateway. */
  #onEvent({ kind, data }) {
    if (kind === "viewercount") this.#showViewers(data.viewercount);
    else if (kind === "layers") this.#quality.setLayers(data);
  }

  #onStats({ hasAudio }) {
    this.toggleAttribute("data-audio", hasAudio);
    this.#showStats();
  }

  /** Says what viewers do not get, although the publisher sends it. */
  #showMissing({ video, audio }) {
    const [noVideo, silent] = [this.#part("no-video"), this.#part("silent")];
    noVideo.hidden = !video;
    noVideo.textContent = "The video cannot be shown. Only the audio plays.";
    silent.hidden = !audio;
    silent.title = "The audio is in a format that browsers cannot play.";
  }

  #showViewers(count) {
    this.#viewers = count;
    const shown = this.#part("viewers");
    shown.hidden = count === null;
    shown.querySelector("span").textContent = count === null ? "" : COUNT.format(count);
  }

  /** Plays the new `src`, if any. */
  #change() {
    const isPlaying = this.#player !== null;
    if (isPlaying) this.stop();
    if (isPlaying || this.hasAttribute("autoplay")) this.play();
    else this.#showPoster();
  }

  #showState({ state, text }) {
    // Screen readers announce changes of the state, not every second that passes.
    if (this.dataset.state !== state) this.#root.querySelector("[role=status]").textContent = text;
    if (this.dataset.state !== state) this.#controls.idle.wake();
    if (state === "live" && this.dataset.state !== state) announce(this, this.getAttribute("label"));
    this.dataset.state = state;
    this.#part("words").textContent = text;
    this.#part("lock").hidden = state !== "locked";
    if (state !== "live") this.#showStats();
  }

  #showStats() {
    const { stats } = this;
    const isWanted = this.hasAttribute("stats");
    const list = this.#part("stats-list");
    this.#part("stats").setAttribute("aria-pressed", String(isWanted));
    const wasHidden = list.hidden;
    list.hidden = !isWanted || stats === null;
    const now = performance.now();
    const isDue = now - this.#statsAt >= STATS_INTERVAL || (wasHidden && !list.hidden);
    if (stats === null || !isDue) return;
    this.#statsAt = now;
    const latency = latencyOf(stats);
    if (this.state === "live" && latency) this.#part("words").textContent = `${this.text} · ${latency}`;
    if (list.hidden) return;
    list.replaceChildren(
      ...rowsOf(stats).flatMap(({ name, value, minor }) =>
        [["dt", name], ["dd", value]].map(([tag, text]) => {
          const cell = document.createElement(tag);
          cell.textContent = text;
          cell.classList.toggle("minor", Boolean(minor));
          return cell;
        }),
      ),
    );
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
