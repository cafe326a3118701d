// What a screen reader says by itself. Not every change of the page: new words, a few at a time.

const PAUSE = 400; // ms in which several words become one announcement
const MOST = 3; // messages read out at once; of more only their number

export class Announcer {
  /** @type {string[]} */
  #waiting = [];
  /** @type {number | undefined} */
  #timer;
  #element;

  /** @param {HTMLElement} element with aria-live */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} words */
  say(words) {
    this.#waiting.push(words);
    this.#timer ??= setTimeout(() => this.#speak(), PAUSE);
  }

  #speak() {
    this.#timer = undefined;
    const words = this.#waiting.splice(0);
    this.#element.textContent = words.length > MOST ? `${words.length} new messages` : words.join("\n");
  }
}
