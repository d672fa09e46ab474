/** Hides the controls of a player that gets no input. */

/** Milliseconds without input until the controls hide. */
const IDLE_AFTER = 3_000;

/**
 * Sets the attribute `data-idle` of a player after some time without input. A movement of the mouse
 * and a key remove it; a tap beside the controls toggles it.
 */
export class Idle {
  #host;
  #timer = null;
  /** Whether the tap that is going on began while the controls were hidden. */
  #isWaking = false;

  /**
   * @param {HTMLElement} host the player
   * @param {string} controls selector of what a tap uses
   * @param {string} lasting selector of the controls that stay visible
   */
  constructor(host, controls, lasting) {
    this.#host = host;
    const isTap = ({ pointerType }) => pointerType === "touch";
    const isAny = (event, selector) => event.composedPath().some((one) => one.matches?.(selector));
    host.addEventListener("pointermove", (event) => isTap(event) || this.wake());
    host.addEventListener("pointerleave", (event) => isTap(event) || this.sleep());
    host.addEventListener("focusin", () => this.wake());
    host.addEventListener("keydown", () => this.wake());
    host.addEventListener("pointerdown", (event) => {
      this.#isWaking = isTap(event) && this.#isIdle && !isAny(event, lasting);
      if (!isTap(event)) this.wake();
    });
    host.addEventListener("pointerup", (event) => {
      if (!isTap(event)) return;
      if (this.#isWaking || isAny(event, controls)) this.wake();
      else this.sleep();
    });
    // Nobody aims at a control that is hidden.
    const stop = (event) => this.#isWaking && event.stopImmediatePropagation();
    host.shadowRoot.addEventListener("click", stop, { capture: true });
  }

  /** Shows the controls for a while. */
  wake() {
    this.#host.toggleAttribute("data-idle", false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.sleep(), IDLE_AFTER);
  }

  /** Hides the controls. */
  sleep() {
    clearTimeout(this.#timer);
    this.#host.toggleAttribute("data-idle", true);
  }

  get #isIdle() {
    return this.#host.hasAttribute("data-idle");
  }
}
