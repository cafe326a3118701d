// Messages of our own that are not known to be said: shown at once, after all others.

import { fill, mark, newItem } from "./message.js";
import { showQuote } from "./quote.js";
import { seam } from "./seams.js";

/** @typedef {import("./message.js").Message} Message */
/** @typedef {{ item: HTMLElement, message: Message }} Draft */

export class Drafts {
  /** @type {Set<Draft>} */
  #drafts = new Set();
  #messages;
  #list;

  /** @param {import("./messages.js").MessageList} messages @param {HTMLElement} list */
  constructor(messages, list) {
    this.#messages = messages;
    this.#list = list;
  }

  /** Show at once what is being sent. @param {string} text @param {string | null} replyTo */
  add(text, replyTo) {
    const { template, me, end } = this.#messages;
    /** @type {Draft} */
    const draft = {
      item: newItem(template),
      message: { id: "", author: me, created_at: new Date().toISOString(), version: 0, text, reply_to: replyTo },
    };
    end.stick(true);
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
    if (this.#messages.get(message)) draft.item.remove();
    else this.#messages.place(draft.item, message, seq);
  }

  /** @param {Draft} draft @param {string} why */
  failed(draft, why) {
    this.#show(draft, "failed", why);
  }

  /** @param {Draft} draft */
  discard(draft) {
    this.#drafts.delete(draft);
    const next = draft.item.nextElementSibling;
    draft.item.remove();
    seam(next);
  }

  /** The event of our own message may come before the answer: then it takes the draft's place. @param {Message} message */
  claim(message) {
    if (message.author?.id !== this.#messages.me.id) return null;
    for (const draft of this.#drafts) {
      const { text, reply_to } = draft.message;
      const same = text === message.text && (reply_to ?? null) === (message.reply_to ?? null);
      if (same && draft.item.classList.contains("pending")) {
        this.#drafts.delete(draft);
        mark(draft.item, "sent");
        return draft.item;
      }
    }
    return null;
  }

  /** @param {Draft} draft @param {"pending" | "failed"} state @param {string} [why] */
  #show(draft, state, why) {
    if (!this.#drafts.has(draft)) {
      // new; or the same words, said by us on another page, had taken its place
      if (draft.item.dataset.id) draft.item = newItem(this.#messages.template);
      fill(draft.item, draft.message, this.#messages.me);
      showQuote(draft.item, this.#messages.get(draft.item.dataset.replyTo));
      this.#list.append(draft.item);
      this.#drafts.add(draft);
    }
    mark(draft.item, state, why);
    seam(draft.item);
    this.#messages.end.changed();
  }
}
