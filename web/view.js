/** The player as one sees it: the picture, its state in words, and two buttons. */

import { Player } from "/assets/player.js";

/** The WHEP endpoint of a stream. */
export function endpointOf(stream) {
  return `/whep/${pathOf(stream)}`;
}

/** A stream's name as the path of a URL. */
export function pathOf(stream) {
  return stream.split("/").map(encodeURIComponent).join("/");
}

/** Shows one stream at a time in an element of its own. */
export class PlayerView {
  /** The element to put into the page. */
  element = build();
  #video = this.element.querySelector("video");
  #words = this.element.querySelector(".player-words");
  #status = this.element.querySelector("[role=status]");
  #sound = this.element.querySelector(".player-sound");
  #full = this.element.querySelector(".player-full");
  #player = null;

  constructor() {
    this.#sound.addEventListener("click", () => this.#toggleSound());
    this.#full.addEventListener("click", () => this.#toggleFullscreen());
    this.#full.hidden = !document.fullscreenEnabled && !this.#video.webkitEnterFullscreen;
    this.#video.addEventListener("volumechange", () => this.#showSound());
    document.addEventListener("fullscreenchange", () => this.#showFullscreen());
    addEventListener("pagehide", () => this.#player?.stop());
    // A page taken back from the browser's cache, a network that is there again, a tab that is looked
    // at: no reason to wait for the next attempt.
    addEventListener("pageshow", ({ persisted }) => persisted && this.#player?.start());
    addEventListener("online", () => this.#player?.start());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#player?.start();
    });
    this.#showSound();
    this.#showFullscreen();
  }

  /** The player of the stream that is shown, or `null`. */
  get player() {
    return this.#player;
  }

  /** Shows `stream` instead of what was shown so far. */
  show(stream) {
    this.#player?.stop();
    this.#video.srcObject = null;
    this.#video.setAttribute("aria-label", `Live video of ${stream}`);
    const player = new Player(this.#video, endpointOf(stream));
    player.addEventListener("statechange", ({ detail }) => {
      if (this.#player === player) this.#showState(detail);
    });
    this.#player = player;
    player.start();
  }

  #showState({ state, text }) {
    // Screen readers are told of a change, not of every second that passes.
    if (this.element.dataset.state !== state) this.#status.textContent = text;
    this.element.dataset.state = state;
    this.#words.textContent = text;
  }

  #toggleSound() {
    this.#video.muted = !this.#video.muted;
    if (this.#video.paused) this.#video.play().catch(() => {});
  }

  #showSound() {
    const { muted } = this.#video;
    this.element.classList.toggle("is-muted", muted);
    this.#sound.querySelector("span").textContent = muted ? "Unmute" : "Mute";
  }

  #toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen();
  }

  #showFullscreen() {
    const isFull = document.fullscreenElement === this.element;
    this.#full.querySelector("span").textContent = isFull ? "Exit full screen" : "Full screen";
  }
}

const MARKUP = `
  <video autoplay muted playsinline></video>
  <p class="player-state" aria-hidden="true">
    <span class="player-mark"></span><span class="player-words"></span>
  </p>
  <p class="visually-hidden" role="status"></p>
  <div class="player-bar">
    <button type="button" class="player-sound">
      <svg viewBox="0 0 24 24" aria-hidden="true">
        <path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z" fill="currentColor"/>
        <path class="when-muted" d="m16 9.5 5 5m0-5-5 5"/>
        <path class="when-loud" d="M15.5 9a4.2 4.2 0 0 1 0 6m2.6-8.6a7.9 7.9 0 0 1 0 11.2"/>
      </svg><span></span>
    </button>
    <button type="button" class="player-full">
      <svg viewBox="0 0 24 24" aria-hidden="true">
        <path d="M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15"/>
      </svg><span class="visually-hidden"></span>
    </button>
  </div>`;

function build() {
  const element = document.createElement("section");
  element.className = "player";
  element.dataset.state = "stopped";
  element.setAttribute("aria-label", "Player");
  element.innerHTML = MARKUP;
  // The attribute alone does not mute an element made by a script.
  element.querySelector("video").muted = true;
  return element;
}
