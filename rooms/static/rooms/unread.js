// What the reader has not seen: a line above the first of it, a pill that leads to it, and the mark of what was read.

import { part } from "./message.js";
import { seam } from "./seams.js";

const REPEAT = 3_000; // ms between two marks: each is a write in the room's log, and a lively room has many readers

export class Unread {
  #count = 0; // that came while the reader was elsewhere
  #told = 0; // the seq that the server has from us
  /** @type {number | undefined} */
  #timer;
  #read;
  #list;
  #pill;
  #say;

  /**
   * @param {import("./messages.js").MessageList} list
   * @param {HTMLElement} pill
   * @param {number | null} read the seq up to which this person has read, as the server knows it
   * @param {(seq: number) => boolean} say tells the server, if it can be told now
   */
  constructor(list, pill, read, say) {
    this.#list = list;
    this.#pill = pill;
    this.#read = this.#told = read ?? 0;
    this.#say = say;
    if (read !== null) this.#draw(list.items().find((item) => this.#isNew(item)));
    pill.addEventListener("click", () => list.end.seek());
    list.end.moved = () => this.look();
  }

  /** A message has come. @param {HTMLElement} item */
  came(item) {
    if (this.#present()) return this.look();
    if (!this.#isNew(item)) return;
    if (this.#count === 0) this.#draw(item);
    this.#count += 1;
    this.#showPill();
  }

  /** The reader may have come to the end, or back to the page: then everything is read. */
  look() {
    if (this.#present()) {
      this.#count = 0;
      const seq = Number(this.#list.last()?.dataset.seq ?? 0);
      this.#read = Math.max(this.#read, seq);
    }
    if (!this.#timer || document.hidden) this.leave();
    this.#showPill();
  }

  /** The reader goes away, and does not wait to have it told. */
  leave() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#told >= this.#read || !this.#say(this.#read)) return;
    this.#told = this.#read;
    this.#timer = setTimeout(() => this.leave(), REPEAT);
  }

  #present() {
    return !document.hidden && this.#list.end.here;
  }

  /** @param {HTMLElement} item */
  #isNew(item) {
    return Number(item.dataset.seq) > this.#read && !item.matches(".own, .deleted");
  }

  /** @param {HTMLElement | undefined} item the first that is new, under the line */
  #draw(item) {
    for (const old of this.#list.items()) {
      const line = part(old, "unread");
      if (line.hidden === (old !== item)) continue;
      line.hidden = old !== item;
      seam(old);
    }
    this.#list.end.changed();
  }

  #showPill() {
    const { here } = this.#list.end;
    this.#pill.hidden = here;
    this.#pill.classList.toggle("news", this.#count > 0);
    const news = this.#count === 1 ? "1 new message" : `${this.#count} new messages`;
    this.#pill.textContent = this.#count ? news : "To the newest";
  }
}
