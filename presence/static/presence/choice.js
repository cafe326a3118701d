// What somebody chose to be seen as: busy, and words of their own. All tabs of a log-in have it, until the log-in ends.

/** @typedef {{ busy: boolean, text: string }} Chosen */

const PREFIX = "presence.choice:";

export class Choice {
  /** Told when it is another. @type {() => void} */
  changed = () => {};
  /** Where there is no storage. @type {Chosen} */
  #kept = { busy: false, text: "" };
  #life = new AbortController();
  #key;

  /** @param {string} person their id, and their log-in */
  constructor(person) {
    this.#key = PREFIX + person;
    addEventListener("storage", ({ key }) => key === this.#key && this.changed(), { signal: this.#life.signal });
    forgetOthers(this.#key);
  }

  stop() {
    this.#life.abort();
  }

  /** @returns {Chosen} */
  get is() {
    try {
      const { busy = false, text = "" } = JSON.parse(localStorage.getItem(this.#key) ?? "{}");
      return { busy: busy === true, text: String(text) };
    } catch {
      return this.#kept;
    }
  }

  /** @param {Chosen} chosen */
  set is({ busy, text }) {
    this.#kept = { busy, text };
    try {
      if (busy || text) localStorage.setItem(this.#key, JSON.stringify({ busy, text }));
      else localStorage.removeItem(this.#key);
    } catch {
      // no storage here: the other tabs are not told
    }
    this.changed();
  }
}

/** After another log-in nothing of the one before is left here. @param {string} key that is kept */
function forgetOthers(key) {
  try {
    for (const other of Object.keys(localStorage)) {
      if (other.startsWith(PREFIX) && other !== key) localStorage.removeItem(other);
    }
  } catch {
    // no storage here
  }
}
