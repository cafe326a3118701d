// Where one writes. A message is shown at once and sent until it is answered.

import { part } from "./message.js";
import { newId } from "./protocol.js";

/** @typedef {import("./messages.js").Draft} Draft */
/** @typedef {"archived" | "logged-out" | "moderators" | "listener" | "gone"} Why one cannot write here */

export class Composer {
  #form;
  #field;
  #reasons;
  #list;
  #room;

  /**
   * @param {HTMLFormElement} form
   * @param {HTMLElement} reasons with an element for each Why that wants words, its `data-why`
   * @param {import("./messages.js").MessageList} list
   * @param {import("./room.js").LiveRoom} room
   */
  constructor(form, reasons, list, room) {
    this.#form = form;
    this.#field = /** @type {HTMLTextAreaElement} */ (form.querySelector("textarea"));
    this.#reasons = reasons;
    this.#list = list;
    this.#room = room;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => {
      // a thumb has no Shift: there Enter is a new line, and the button sends
      const sends = event.key === "Enter" && !event.shiftKey && !matchMedia("(pointer: coarse)").matches;
      if (sends && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
    });
  }

  /** @param {Why | null} why null: one can write */
  allow(why) {
    this.#form.hidden = why !== null;
    for (const reason of /** @type {NodeListOf<HTMLElement>} */ (this.#reasons.querySelectorAll("[data-why]"))) {
      reason.hidden = reason.dataset.why !== why;
    }
  }

  #submit() {
    const text = this.#field.value;
    if (this.#form.hidden || !text.trim()) return;
    this.#field.value = "";
    this.#field.focus();
    this.#send(this.#list.draft(text), text, newId());
  }

  /** @param {Draft} draft @param {string} text @param {string} id the same for every attempt: it is said once */
  async #send(draft, text, id) {
    this.#list.pending(draft);
    try {
      this.#list.sent(draft, await this.#room.send("chat.send", { text }, { id }));
    } catch (error) {
      this.#list.failed(draft, error instanceof Error ? error.message : String(error));
      part(draft.item, "retry").onclick = () => {
        this.#field.focus();
        this.#send(draft, text, id);
      };
      part(draft.item, "discard").onclick = () => {
        this.#field.focus();
        this.#list.discard(draft);
      };
    }
  }
}
