// The message that a message answers, in a line above it.

import { part } from "./message.js";

const MOST = 200; // characters: the line shows no more

/** Show what a message answers, as far as the page knows it. @param {HTMLElement} item @param {HTMLElement | undefined} quoted */
export function showQuote(item, quoted) {
  const id = item.dataset.replyTo;
  const quote = /** @type {HTMLAnchorElement} */ (part(item, "quote"));
  quote.hidden = !id || item.classList.contains("deleted");
  if (!id) return;
  quote.setAttribute("href", `#m-${id}`);
  const text = part(quote, "quoted-text");
  if (quoted) {
    const gone = quoted.classList.contains("deleted");
    part(quote, "quoted-author").textContent = gone ? "" : part(quoted, "author").textContent;
    text.textContent = gone ? "a deleted message" : excerpt(quoted);
  } else if (!text.textContent) {
    text.textContent = "an earlier message";
  }
}

/** @param {HTMLElement} item */
export function excerpt(item) {
  return [...(part(item, "text").textContent ?? "").slice(0, MOST * 2)].slice(0, MOST).join("");
}

/**
 * Bring a message before the reader's eyes, away from the end.
 *
 * @param {HTMLElement} item
 * @param {import("./end.js").End} end
 */
export function visit(item, end) {
  end.stick(false);
  item.scrollIntoView({ block: "center" }); // at once: a slow start would still be at the end, and be held there
  item.focus({ preventScroll: true });
  item.classList.add("found");
  setTimeout(() => item.classList.remove("found"), 2_000);
}
