/** Fits the controls of a player into its width. */

/**
 * What a narrow player does without, in this order, until the rest fits: words first, then controls
 * that have a key or that the device has itself. `element-style.js` says what each step hides.
 */
const STEPS = ["words", "volume", "pip", "stats", "viewers", "long-quality"];

/** Keeps the attribute `data-without` of a bar at the fewest steps of `STEPS` with which it fits. */
export class Fit {
  #bar;
  #frame = null;

  /** @param {HTMLElement} bar the row of controls */
  constructor(bar) {
    this.#bar = bar;
    // Not at once: a change of sizes within the observer's own call is an error of the page.
    const later = () => {
      this.#frame ??= requestAnimationFrame(() => this.#fit());
    };
    const sizes = new ResizeObserver(later);
    for (const part of [bar, ...bar.children]) sizes.observe(part);
  }

  #fit() {
    this.#frame = null;
    const bar = this.#bar;
    for (let count = 0; count <= STEPS.length; count += 1) {
      bar.dataset.without = STEPS.slice(0, count).join(" ");
      if (bar.scrollWidth <= bar.clientWidth) return;
    }
  }
}
