// The list of a room's messages: each once, in the order of the log; our own that are on their way come last.

import { Drafts } from "./drafts.js";
import { bury, dress, fill, mark, newItem } from "./message.js";
import { showQuote } from "./quote.js";
import { seam } from "./seams.js";

/** @typedef {import("./message.js").Message} Message */

const MOST = 500; // messages on the page; beyond that the oldest go, unless somebody is reading up there

export class MessageList {
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  #list;

  /**
   * @param {HTMLOListElement} list with the items that the page brought
   * @param {HTMLTemplateElement} template of an item
   * @param {import("./message.js").Person} me
   * @param {import("./end.js").End} end
   */
  constructor(list, template, me, end) {
    this.#list = list;
    this.template = template;
    this.me = me;
    this.end = end;
    this.drafts = new Drafts(this, list);
    for (const item of this.items()) this.#adopt(item);
    for (const item of this.items()) seam(item);
  }

  /** @param {string | undefined} id */
  get(id) {
    return this.#items.get(id ?? "");
  }

  /** The newest that is known to be said. */
  last() {
    let item = /** @type {HTMLElement | null} */ (this.#list.lastElementChild);
    while (item && !item.dataset.id) item = /** @type {HTMLElement | null} */ (item.previousElementSibling);
    return item;
  }

  /** From the oldest on, without those that are not known to be said. */
  items() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]).filter((item) => item.dataset.id);
  }

  /** @param {Message} message that was said @param {number} seq its place @returns {HTMLElement | null} if it is new here */
  add(message, seq) {
    const known = this.#items.get(message.id);
    if (known && message.deleted) return this.bury(message);
    if (known && Number(known.dataset.version ?? 0) > message.version) return null; // the page was made after it
    const item = known ?? this.drafts.claim(message) ?? newItem(this.template);
    fill(item, message, this.me);
    showQuote(item, this.get(item.dataset.replyTo));
    this.place(item, message.id, seq);
    if (message.deleted) this.bury(message);
    while (this.end.here && this.#items.size > MOST) this.#drop(/** @type {HTMLElement} */ (this.#list.firstElementChild));
    return known || message.deleted ? null : item;
  }

  /** @param {Message} message */
  edit(message) {
    const item = this.#items.get(message.id);
    if (!item || message.text === undefined || Number(item.dataset.version) >= message.version) return;
    fill(item, message, this.me);
    this.#quoted(item);
    this.end.changed();
  }

  /** What was said is gone; its place stays. @param {{ id: string, version: number }} message @returns {null} */
  bury({ id, version }) {
    const item = this.#items.get(id);
    if (item) {
      bury(item, version);
      seam(item.nextElementSibling);
      this.#quoted(item);
      this.end.changed();
    }
    return null;
  }

  /** The room as it is, in place of all that was said before. @param {HTMLElement[]} items oldest first */
  replace(items) {
    for (const id of [...this.#items.keys()]) this.#items.get(id)?.remove();
    this.#items.clear();
    this.prepend(items);
  }

  /** @param {HTMLElement[]} items older than all that are here, oldest first */
  prepend(items) {
    const fresh = items.filter((item) => !this.#items.has(item.dataset.id ?? ""));
    const first = this.#list.firstElementChild;
    this.#list.prepend(...fresh);
    fresh.forEach((item) => this.#adopt(item));
    [...fresh, first].forEach(seam);
    this.end.changed();
  }

  /** @param {HTMLElement} item @param {string} id @param {number} seq */
  place(item, id, seq) {
    item.id = `m-${id}`;
    item.dataset.id = id;
    item.dataset.seq = String(seq);
    this.#items.set(id, item);
    let before = this.#list.lastElementChild;
    while (before && (before === item || !(seqOf(before) < seq))) before = before.previousElementSibling;
    const next = before ? before.nextElementSibling : this.#list.firstElementChild;
    if (next !== item) this.#list.insertBefore(item, next); // moved for nothing it would lose a selection in it
    seam(item);
    seam(item.nextElementSibling);
    this.end.changed();
  }

  /** @param {HTMLElement} item that the server made */
  #adopt(item) {
    this.#items.set(item.dataset.id ?? "", item);
    item.classList.toggle("own", item.dataset.author === this.me.id);
    dress(item);
    mark(item, "sent");
  }

  /** @param {HTMLElement} item */
  #drop(item) {
    const next = item.nextElementSibling;
    this.#items.delete(item.dataset.id ?? "");
    item.remove();
    seam(next);
    this.end.changed();
  }

  /** @param {HTMLElement} item that others may quote */
  #quoted(item) {
    const answers = this.#list.querySelectorAll(`[data-reply-to="${CSS.escape(item.dataset.id ?? "")}"]`);
    for (const answer of answers) showQuote(/** @type {HTMLElement} */ (answer), item);
  }
}

/** NaN for what has no place yet. @param {Element} item */
function seqOf(item) {
  return Number(/** @type {HTMLElement} */ (item).dataset.seq);
}
