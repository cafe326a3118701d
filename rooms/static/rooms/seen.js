// How far the others have read: their names under the newest message that one of them has seen.

import { part } from "./message.js";

/** @typedef {{ name: string, seq: number }} Mark */

const MOST = 3; // names; of more only how many

export class Seen {
  /** By the id of a person. @type {Map<string, Mark>} */
  #marks = new Map();
  #frame = 0;
  #line;
  #list;

  /**
   * @param {HTMLElement} line that goes from message to message
   * @param {import("./messages.js").MessageList} list
   */
  constructor(line, list) {
    this.#line = line;
    this.#list = list;
  }

  /** The marks as a page brings them, instead of all that were known. @param {Element | null} marks */
  take(marks) {
    this.#marks.clear();
    for (const mark of /** @type {Iterable<HTMLElement>} */ (marks?.children ?? [])) {
      this.#mark(mark.dataset.user ?? "", mark.textContent ?? "", Number(mark.dataset.seq));
    }
    this.look();
  }

  /** @param {{ user: import("./message.js").Person, seq: number } | null} mark @param {{ key?: string }} meta */
  hear(mark, { key = "" }) {
    if (mark) this.#mark(mark.user.id, mark.user.name, mark.seq);
    else this.#marks.delete(key);
    this.look();
  }

  /** Marks or messages have changed. Looked at once a frame: in a lively room both come in floods. */
  look() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  /** @param {string} id @param {string} name @param {number} seq */
  #mark(id, name, seq) {
    if (id === this.#list.me.id) return;
    this.#marks.delete(id); // who has read last is named first
    this.#marks.set(id, { name, seq });
  }

  #show() {
    const newest = Math.max(0, ...[...this.#marks.values()].map(({ seq }) => seq));
    const items = this.#list.items();
    let at = items.length - 1;
    let names = [];
    for (; at >= 0 && !names.length; at--) {
      const { seq, author } = items[at].dataset;
      if (Number(seq) > newest || items[at].matches(".deleted")) continue;
      for (const [id, mark] of this.#marks) if (id !== author && mark.seq >= Number(seq)) names.unshift(mark.name);
    }
    const words = sentence(names);
    const place = names.length ? part(items[at + 1], "body") : null;
    if (this.#line.textContent === words && this.#line.parentElement === place) return;
    this.#line.textContent = words;
    this.#line.title = names.length > MOST ? names.join("\n") : "";
    this.#line.hidden = !place;
    place?.append(this.#line);
    this.#list.end.changed();
  }
}

/** @param {string[]} names */
function sentence(names) {
  if (!names.length) return "";
  const shown = names.length > MOST ? [...names.slice(0, MOST - 1), `${names.length - MOST + 1} more`] : names;
  return `Seen by ${new Intl.ListFormat("en").format(shown)}`;
}
