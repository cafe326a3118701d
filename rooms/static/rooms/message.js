// One message on a page. Text goes in as text, never as HTML; the markup is the page's <template>.

/**
 * @typedef {{ id: string, name: string }} Person
 * @typedef {object} Message as events and REST show it
 * @property {string} id
 * @property {Person | null} author
 * @property {string} created_at
 * @property {number} version
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
  item.classList.toggle("own", message.author?.id === me.id);
  part(item, "author").textContent = message.author?.name ?? "Someone who left";
  part(item, "text").textContent = message.text ?? "";
  part(item, "edited").hidden = message.version < 2;
  /** @type {HTMLTimeElement} */ (part(item, "time")).dateTime = message.created_at;
  showTime(item);
}

/** The time as it is where the reader is. @param {HTMLElement} item */
export function showTime(item) {
  const time = /** @type {HTMLTimeElement} */ (part(item, "time"));
  const at = new Date(time.dateTime);
  const today = at.toDateString() === new Date().toDateString();
  time.textContent = (today ? HOURS : DAYS).format(at);
  time.title = FULL.format(at);
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

const HOURS = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DAYS = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
