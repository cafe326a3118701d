// A server that went silent, told from a page that slept.

const LATE = 2_000; // a timer that fires this late says that the page slept, not that the server is silent
const MERCY = 1_000; // ms in which what waits in the socket may speak first, after a sleep

export class Silence {
  #last = Date.now();
  #due = Infinity; // when something that was asked must be answered, or anything else heard
  /** @type {number | undefined} */
  #timer;
  #limit;
  #dead;

  /**
   * @param {number} limit ms
   * @param {() => void} dead called once, when nothing was heard for so long
   */
  constructor(limit, dead) {
    this.#limit = limit;
    this.#dead = dead;
    this.#wait();
  }

  /** Something was heard. @param {number} [limit] from now on */
  broken(limit = this.#limit) {
    this.#last = Date.now();
    this.#due = Infinity;
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#wait();
  }

  /** Somebody waits for an answer: until anything is heard, silence is this long at most. @param {number} limit ms */
  asked(limit) {
    if (this.#due !== Infinity) return;
    this.#due = Date.now() + limit;
    this.#wait();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #deadline() {
    return Math.min(this.#last + this.#limit, this.#due);
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#deadline() - Date.now()));
  }

  #look() {
    const late = Date.now() - this.#deadline();
    if (late >= 0 && late < LATE) return this.#dead();
    if (late >= LATE) {
      this.#last = Date.now() + MERCY - this.#limit;
      this.#due = Infinity;
    }
    this.#wait();
  }
}
