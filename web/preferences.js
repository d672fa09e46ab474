/** The volume, muting and quality that a viewer chose last, on the site of the page. */

const KEY = "distributary-player";

/** Returns `{ muted, volume, quality }`, or `null` if the viewer has chosen nothing yet. */
export function recall() {
  try {
    const { muted, volume, quality = "auto" } = JSON.parse(localStorage.getItem(KEY));
    const isValid = typeof muted === "boolean" && volume >= 0 && volume <= 1;
    return isValid ? { muted, volume, quality: String(quality) } : null;
  } catch {
    // Nothing is stored, or the browser forbids to store.
    return null;
  }
}

/** Keeps the choice. */
export function remember({ muted, volume, quality }) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ muted, volume, quality }));
  } catch {
    // The browser forbids it.
  }
}
