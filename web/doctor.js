/** The connection doctor: a dialog with what the gateway finds out about its machine. */

import { ask } from "./admin.js";

/** Order of the findings: what needs attention comes first. */
const LEVELS = ["error", "warning", "ok"];

/** Examines the machine when the button is pressed, and shows the findings in the dialog. */
export function setUpDoctor(button, dialog) {
  const [status, list] = ["[role=status]", "ul"].map((part) => dialog.querySelector(part));
  button.addEventListener("click", async () => {
    status.textContent = "Checking…";
    list.replaceChildren();
    dialog.showModal();
    try {
      const { findings } = await ask("GET", "api/doctor");
      const sorted = LEVELS.flatMap((level) => findings.filter((finding) => finding.level === level));
      list.replaceChildren(...sorted.map(item));
      status.textContent = summary(findings);
    } catch (error) {
      status.textContent = error.message;
    }
  });
}

function summary(findings) {
  const [errors, warnings] = LEVELS.map((level) => findings.filter((found) => found.level === level).length);
  if (errors + warnings === 0) return "Nothing to do on this machine.";
  return `Errors: ${errors}, warnings: ${warnings}`;
}

function item({ check, level, text, advice }) {
  const [element, subject, line] = ["li", "strong", "span"].map((tag) => document.createElement(tag));
  element.dataset.level = level;
  subject.textContent = `${level}: ${check}`;
  line.textContent = text;
  element.append(subject, line);
  if (advice) {
    const remedy = document.createElement("em");
    remedy.textContent = advice;
    element.append(remedy);
  }
  return element;
}
