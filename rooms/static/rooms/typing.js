// Who is writing: told to the others now and then, and shown of them in a line.

const LAPSE = 6_000; // ms, of the protocol
const REPEAT = 3_000; // ms between two tellings of the same

/** Tells that the reader writes. */
export class Teller {
  #told = 0;
  #say;

  /** @param {(typing: boolean) => void} say */
  constructor(say) {
    this.#say = say;
  }

  /** @param {string} text in the field now */
  wrote(text) {
    if (text.trim() && Date.now() - this.#told > REPEAT) {
      this.#told = Date.now();
      this.#say(true);
    } else if (!text.trim() && this.#told) {
      this.#told = 0;
      this.#say(false);
    }
  }

  /** It was sent: the others see that by themselves. */
  sent() {
    this.#told = 0;
  }
}

/** Shows who else does. */
export class TypingLine {
  /** @type {Map<string, { name: string, timer: number }>} */
  #people = new Map();
  #line;
  #me;

  /** @param {HTMLElement} line @param {string} me */
  constructor(line, me) {
    this.#line = line;
    this.#me = me;
  }

  /** @param {{ user: import("./message.js").Person, typing: boolean }} state */
  hear({ user, typing }) {
    clearTimeout(this.#people.get(user.id)?.timer);
    this.#people.delete(user.id);
    if (typing && user.id !== this.#me) {
      const timer = setTimeout(() => this.hear({ user, typing: false }), LAPSE);
      this.#people.set(user.id, { name: user.name, timer });
    }
    this.#line.textContent = sentence([...this.#people.values()].map(({ name }) => name));
  }

  /** Nobody is known to write any more. */
  clear() {
    for (const { timer } of this.#people.values()) clearTimeout(timer);
    this.#people.clear();
    this.#line.textContent = "";
  }
}

/** @param {string[]} names */
function sentence(names) {
  if (names.length === 0) return "";
  if (names.length > 3) return "Several people are typing…";
  return `${new Intl.ListFormat("en").format(names)} ${names.length === 1 ? "is" : "are"} typing…`;
}
