// One message on a page. Text goes in as text, never as HTML; the markup is the page's <template>.

import { paint } from "./avatar.js";
import { showText } from "./links.js";

/**
 * @typedef {{ id: string, name: string }} Person
 * @typedef {object} Message as events and REST show it
 * @property {string} id
 * @property {Person | null} author
 * @property {string} created_at
 * @property {number} version
 * @property {string | null} [reply_to]
 * @property {string} [text]
 * @property {true} [deleted]
 */

/** @param {HTMLTemplateElement} template */
export function newItem(template) {
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  return /** @type {HTMLElement} */ (copy.querySelector("li"));
}

/** @param {HTMLElement} item @param {Message} message @param {Person} me */
export function fill(item, message, me) {
  item.dataset.version = String(message.version);
  item.dataset.author = message.author?.id ?? "";
  if (message.reply_to) item.dataset.replyTo = message.reply_to;
  item.classList.toggle("own", message.author?.id === me.id);
  part(item, "author").textContent = message.author?.name ?? "Someone who left";
  part(item, "text").textContent = message.text ?? "";
  part(item, "edited").hidden = message.version < 2;
  /** @type {HTMLTimeElement} */ (part(item, "time")).dateTime = message.created_at;
  dress(item);
}

/** What a server cannot do: the time as it is where the reader is, links, a picture of the author. @param {HTMLElement} item */
export function dress(item) {
  const time = /** @type {HTMLTimeElement} */ (part(item, "time"));
  const at = new Date(time.dateTime);
  time.textContent = HOURS.format(at);
  time.title = FULL.format(at);
  const text = part(item, "text");
  showText(text, text.textContent ?? "");
  paint(part(item, "avatar"), item.dataset.author ?? "", part(item, "author").textContent ?? "");
}

/** Nothing but its place is left. @param {HTMLElement} item @param {number} version */
export function bury(item, version) {
  item.dataset.version = String(version);
  item.classList.add("deleted");
  part(item, "text").textContent = "";
  for (const name of ["text", "edited", "quote", "reactions"]) part(item, name).hidden = true;
  part(item, "deleted").hidden = false;
}

/**
 * How far a message of our own has come.
 *
 * @param {HTMLElement} item
 * @param {"pending" | "sent" | "failed"} state
 * @param {string} [why]
 */
export function mark(item, state, why = "") {
  item.classList.toggle("pending", state === "pending");
  item.classList.toggle("failed", state === "failed");
  part(item, "pending").hidden = state !== "pending";
  part(item, "failure").hidden = state !== "failed";
  part(item, "why").textContent = why;
}

/**
 * The element of the template that has this as its `data-part`.
 *
 * @param {Element} item
 * @param {string} name
 * @returns {HTMLElement}
 */
export function part(item, name) {
  const found = item.querySelector(`[data-part="${name}"]`);
  if (!(found instanceof HTMLElement)) throw new Error(`The template has no data-part="${name}"`);
  return found;
}

/** @param {EventTarget | null} inside @returns {HTMLElement | null} the message around it */
export function messageOf(inside) {
  return inside instanceof Element ? inside.closest("li.message") : null;
}

const HOURS = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
