/** The quality menu of `<distributary-player>`. */

/** Change of the shown height that is worth a message, as a factor. */
const NOTABLE = 1.1;

/** The choice of the gateway. */
export const AUTO = "auto";

/**
 * Shows the renditions of the stream, lets the viewer choose one, and tells the gateway how large the
 * video is shown.
 */
export class QualityMenu {
  #element;
  #select;
  #onSelection;
  #layers = [];
  #choice = AUTO;
  #shownHeight = null;

  /**
   * @param {DistributaryPlayer} player
   * @param {HTMLSelectElement} select
   * @param {(selection: object) => void} onSelection gets the selection for the gateway
   */
  constructor(player, select, onSelection) {
    this.#element = player;
    this.#select = select;
    this.#onSelection = onSelection;
    new ResizeObserver(() => this.#measure()).observe(player);
  }

  /** The choice: `auto`, or the id or height of a rendition, such as `720p`. */
  get choice() {
    return this.#choice;
  }

  set choice(choice) {
    this.#choice = choice || AUTO;
    this.#show();
    this.#tell();
  }

  /** Shows the renditions of an event `layers`. */
  setLayers(data) {
    const [layers = []] = Object.values(data);
    const isFirst = this.#layers.length === 0;
    this.#layers = layers;
    this.#show();
    if (isFirst) this.#tell();
  }

  /** Hides the menu until the next event. */
  clear() {
    this.#layers = [];
    this.#select.hidden = true;
  }

  #measure() {
    const height = Math.round(this.#element.clientHeight * devicePixelRatio);
    const before = this.#shownHeight ?? 0;
    if (height === 0 || (height < before * NOTABLE && height * NOTABLE > before)) return;
    this.#shownHeight = height;
    this.#tell();
  }

  /** Returns the rendition of the choice, if the stream has it. */
  #chosen() {
    const { choice } = this;
    return this.#layers.find((layer) => layer.rid === choice || nameOf(layer) === choice);
  }

  #tell() {
    // A stream with one rendition leaves nothing to choose.
    if (this.#layers.length < 2) return;
    const rid = this.#chosen()?.rid;
    this.#onSelection(rid ? { rid } : { shownHeight: this.#shownHeight ?? undefined });
  }

  #show() {
    const active = this.#layers.find((layer) => layer.active);
    const names = this.#layers.map(nameOf);
    const texts = this.#layers.map((layer, at) => {
      const isUnique = names.indexOf(names[at]) === names.lastIndexOf(names[at]);
      return isUnique ? names[at] : `${names[at]} ${megabits(layer)}`;
    });
    const auto = active ? `Auto (${texts[this.#layers.indexOf(active)]})` : "Auto";
    const options = [[AUTO, auto], ...this.#layers.map((layer, at) => [layer.rid, texts[at]])];
    for (const [at, [value, text]] of options.entries()) {
      // In place, so that an open menu stays open.
      const option = this.#select.options[at] ?? this.#select.appendChild(new Option());
      if (option.value !== value) option.value = value;
      if (option.text !== text) option.text = text;
    }
    while (this.#select.options.length > options.length) this.#select.lastElementChild.remove();
    this.#select.value = this.#chosen()?.rid ?? AUTO;
    this.#select.hidden = this.#layers.length < 2;
  }
}

function nameOf({ rid, height }) {
  return height ? `${height}p` : rid;
}

function megabits({ bitrate, targetBitrate }) {
  return `${((bitrate ?? targetBitrate) / 1e6).toFixed(1)} Mbit/s`;
}
