// Who came and who left, for screen readers: several together, and not oftener than one would look up.

/** @typedef {import("./roster.js").Present} Present */

const PAUSE = 10_000; // ms in which comings and goings become one sentence
const MOST = 3; // names; of more only how many

export class Comings {
  /** By id; who came and left meanwhile is neither. @type {Map<string, { name: string, came: boolean }>} */
  #waiting = new Map();
  /** @type {number | undefined} */
  #timer;
  #element;
  #me;

  /** @param {HTMLElement} element with aria-live @param {string} me */
  constructor(element, me) {
    this.#element = element;
    this.#me = me;
  }

  /** @param {import("./roster.js").Diff} diff */
  hear({ joined, left }) {
    for (const { user } of joined) this.#note(user, true);
    for (const { user } of left) this.#note(user, false);
    if (this.#waiting.size) this.#timer ??= setTimeout(() => this.#speak(), PAUSE);
  }

  /** What was not told yet is of no interest any more. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.clear();
  }

  /** @param {{ id: string, name: string }} user @param {boolean} came */
  #note({ id, name }, came) {
    const before = this.#waiting.get(id);
    if (before && before.came !== came) this.#waiting.delete(id);
    else if (id !== this.#me) this.#waiting.set(id, { name, came });
  }

  #speak() {
    const people = [...this.#waiting.values()];
    this.stop();
    const names = (/** @type {boolean} */ came) => people.filter((person) => person.came === came).map(({ name }) => name);
    this.#element.textContent = [sentence(names(true), "came"), sentence(names(false), "left")].filter(Boolean).join(" ");
  }
}

/** @param {string[]} names @param {string} what */
function sentence(names, what) {
  if (!names.length) return "";
  return `${names.length > MOST ? `${names.length} people` : new Intl.ListFormat("en").format(names)} ${what}.`;
}
