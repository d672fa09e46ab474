/** Makes elements of the dashboard. */

/** Makes an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Makes a button. `name` is its accessible name if that differs from the text. */
export function button(text, onClick, { className = "", name = text } = {}) {
  const made = make("button", { type: "button", textContent: text, className });
  if (name !== text) made.setAttribute("aria-label", name);
  made.addEventListener("click", onClick);
  return made;
}

/** Sets the text of an element if it has changed, so that a selection stays. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
