// What the reader has not seen: a line above the first of it, a pill that leads to it, and the mark of what was read.

import { part } from "./message.js";
import { seam } from "./seams.js";

export class Unread {
  #count = 0; // that came while the reader was elsewhere
  #read;
  #list;
  #pill;
  #say;

  /**
   * @param {import("./messages.js").MessageList} list
   * @param {HTMLElement} pill
   * @param {number | null} read the seq up to which this person has read, as the server knows it
   * @param {(seq: number) => void} say tells the server
   */
  constructor(list, pill, read, say) {
    this.#list = list;
    this.#pill = pill;
    this.#read = read ?? 0;
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
      if (seq > this.#read) {
        this.#read = seq;
        this.#say(seq);
      }
    }
    this.#showPill();
  }

  #present() {
    return !document.hidden && this.#list.end.here;
  }

  /** @param {HTMLElement} item */
  #isNew(item) {
    return Number(item.dataset.seq) > this.#read && !item.classList.contains("own");
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
