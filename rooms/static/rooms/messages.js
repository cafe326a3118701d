// The list of a room's messages: each once, in the order of the log; our own that are on their way come last.

import { End } from "./end.js";
import { fill, mark, newItem, showTime } from "./message.js";

/** @typedef {import("./message.js").Message} Message */
/** @typedef {{ item: HTMLElement, message: Message }} Draft a message of our own that is not known to be said */

const MOST = 500; // messages on the page; beyond that the oldest go, unless somebody is reading up there

export class MessageList {
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Set<Draft>} */
  #drafts = new Set();
  #end;
  #list;
  #template;
  #me;

  /**
   * @param {HTMLElement} scroller with a list in it
   * @param {HTMLTemplateElement} template of an item
   * @param {import("./message.js").Person} me
   */
  constructor(scroller, template, me) {
    this.#list = /** @type {HTMLElement} */ (scroller.querySelector("ol"));
    this.#template = template;
    this.#me = me;
    for (const item of this.#list.querySelectorAll("li")) {
      this.#items.set(item.dataset.id ?? "", item);
      showTime(item);
    }
    this.#end = new End(scroller, this.#list);
  }

  /** @param {Message} message that was said @param {number} seq its place */
  add(message, seq) {
    if (message.deleted) return this.remove(message.id);
    const known = this.#items.get(message.id);
    if (known && Number(known.dataset.version ?? 0) > message.version) return; // the page was made after it
    const item = known ?? this.#claim(message) ?? newItem(this.#template);
    fill(item, message, this.#me);
    this.#place(item, message.id, seq);
    if (this.#end.here && this.#items.size > MOST) this.remove(this.#items.keys().next().value ?? "");
  }

  /** @param {Message} message */
  edit(message) {
    const item = this.#items.get(message.id);
    if (item && message.text !== undefined && Number(item.dataset.version) < message.version) {
      fill(item, message, this.#me);
    }
  }

  /** @param {string} id */
  remove(id) {
    this.#items.get(id)?.remove();
    this.#items.delete(id);
    this.#end.changed();
  }

  /** The room as it is, in place of all that was said before. @param {Message[]} messages oldest first */
  replace(messages) {
    for (const id of [...this.#items.keys()]) this.remove(id);
    messages.forEach((message, index) => this.add(message, index - messages.length)); // below every seq
  }

  // --- messages of our own

  /** Show at once what is being sent. @param {string} text */
  draft(text) {
    /** @type {Draft} */
    const draft = {
      item: newItem(this.#template),
      message: { id: "", author: this.#me, created_at: new Date().toISOString(), version: 0, text },
    };
    this.#end.stick(true);
    this.pending(draft);
    return draft;
  }

  /** It is on its way, perhaps once more. @param {Draft} draft */
  pending(draft) {
    this.#show(draft, "pending");
  }

  /** It was said; its event comes, or came already. @param {Draft} draft @param {{ message: string, seq: number }} answer */
  sent(draft, { message, seq }) {
    if (!this.#drafts.delete(draft)) return; // its event was faster
    mark(draft.item, "sent");
    if (this.#items.has(message)) draft.item.remove();
    else this.#place(draft.item, message, seq);
  }

  /** @param {Draft} draft @param {string} why */
  failed(draft, why) {
    this.#show(draft, "failed", why);
  }

  /** @param {Draft} draft */
  discard(draft) {
    this.#drafts.delete(draft);
    draft.item.remove();
  }

  /** @param {Draft} draft @param {"pending" | "failed"} state @param {string} [why] */
  #show(draft, state, why) {
    if (!this.#drafts.has(draft)) {
      // new; or the same words, said by us on another page, had taken its place
      if (draft.item.dataset.id) draft.item = newItem(this.#template);
      fill(draft.item, draft.message, this.#me);
      this.#list.append(draft.item);
      this.#drafts.add(draft);
      this.#end.changed();
    }
    mark(draft.item, state, why);
  }

  /** The event of our own message may come before the answer: then it takes the draft's place. @param {Message} message */
  #claim(message) {
    if (message.author?.id !== this.#me.id) return null;
    for (const draft of this.#drafts) {
      if (draft.message.text === message.text && draft.item.classList.contains("pending")) {
        this.#drafts.delete(draft);
        mark(draft.item, "sent");
        return draft.item;
      }
    }
    return null;
  }

  /** @param {HTMLElement} item @param {string} id @param {number} seq */
  #place(item, id, seq) {
    item.dataset.id = id;
    item.dataset.seq = String(seq);
    this.#items.set(id, item);
    let before = this.#list.lastElementChild;
    while (before && (before === item || !(seqOf(before) < seq))) before = before.previousElementSibling;
    const next = before ? before.nextElementSibling : this.#list.firstElementChild;
    if (next !== item) this.#list.insertBefore(item, next); // moved for nothing it would lose a selection in it
    this.#end.changed();
  }
}

/** NaN for what has no place yet. @param {Element} item */
function seqOf(item) {
  return Number(/** @type {HTMLElement} */ (item).dataset.seq);
}
