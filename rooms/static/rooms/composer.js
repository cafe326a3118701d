// Where one writes. A message is shown at once and sent until it is answered.

import { part } from "./message.js";
import { newId } from "./protocol.js";
import { excerpt } from "./quote.js";
import { Teller } from "./typing.js";

/** @typedef {import("./drafts.js").Draft} Draft */
/** @typedef {"archived" | "logged-out" | "moderators" | "listener" | "gone"} Why one cannot write here */

export class Composer {
  /** Told when Arrow Up is pressed in an empty field: the last message of one's own is wanted. */
  wantsLast = () => {};
  /** @type {string | null} */
  #replyTo = null;
  #form;
  #field;
  #reasons;
  #list;
  #room;
  #teller;

  /**
   * @param {HTMLFormElement} form
   * @param {HTMLElement} reasons with an element for each Why that wants words, its `data-why`
   * @param {import("./messages.js").MessageList} list
   * @param {import("./room.js").LiveRoom} room
   * @param {(typing: boolean) => void} tell
   */
  constructor(form, reasons, list, room, tell) {
    this.#form = form;
    this.#field = /** @type {HTMLTextAreaElement} */ (form.querySelector("textarea"));
    this.#reasons = reasons;
    this.#list = list;
    this.#room = room;
    this.#teller = new Teller(tell);
    this.#field.addEventListener("input", () => this.#teller.wrote(this.#field.value));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => {
      if (sends(event)) {
        event.preventDefault();
        this.#submit();
      } else if (event.key === "Escape") {
        this.reply(null);
      } else if (event.key === "ArrowUp" && !this.#field.value) {
        event.preventDefault();
        this.wantsLast();
      }
    });
    part(form, "reply-cancel").addEventListener("click", () => this.reply(null));
    /** @type {HTMLButtonElement} */ (form.querySelector("[type=submit]")).disabled = false; // until now nobody would have heard
  }

  focus() {
    this.#field.focus();
  }

  /** @param {Why | null} why null: one can write */
  allow(why) {
    this.#form.hidden = why !== null;
    for (const reason of /** @type {NodeListOf<HTMLElement>} */ (this.#reasons.querySelectorAll("[data-why]"))) {
      reason.hidden = reason.dataset.why !== why;
    }
  }

  /** What is written next answers this message. @param {HTMLElement | null} item */
  reply(item) {
    this.#replyTo = item?.dataset.id ?? null;
    const line = /** @type {HTMLElement} */ (this.#form.querySelector("[data-reply]"));
    line.hidden = !item;
    part(line, "reply-author").textContent = item && part(item, "author").textContent;
    part(line, "reply-text").textContent = item && excerpt(item);
    this.#field.focus();
  }

  #submit() {
    const text = this.#field.value;
    if (this.#form.hidden || !text.trim()) return;
    const replyTo = this.#replyTo;
    this.#field.value = "";
    this.#teller.sent();
    this.reply(null);
    this.#send(this.#list.drafts.add(text, replyTo), replyTo ? { text, reply_to: replyTo } : { text }, newId());
  }

  /** @param {Draft} draft @param {object} data @param {string} id the same for every attempt: it is said once */
  async #send(draft, data, id) {
    const { drafts } = this.#list;
    drafts.pending(draft);
    try {
      drafts.sent(draft, await this.#room.send("chat.send", data, { id }));
    } catch (error) {
      drafts.failed(draft, error instanceof Error ? error.message : String(error));
      part(draft.item, "retry").onclick = () => {
        this.#field.focus();
        this.#send(draft, data, id);
      };
      part(draft.item, "discard").onclick = () => {
        this.#field.focus();
        drafts.discard(draft);
      };
    }
  }
}

/** A thumb has no Shift: there Enter is a new line, and the button sends. @param {KeyboardEvent} event */
export function sends(event) {
  const enter = event.key === "Enter" && !event.shiftKey && !event.isComposing;
  return enter && !matchMedia("(pointer: coarse)").matches;
}
