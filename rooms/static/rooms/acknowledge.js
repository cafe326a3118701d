// Flow control: tells the server how many frames with events were handled. A page that cannot keep up gets no more than
// it acknowledged plus the window; the rest waits in the room's log.

const LATEST = 5_000; // ms: the protocol's limit for an unacknowledged frame

export class Acknowledger {
  #received = 0;
  #handled = 0;
  #acknowledged = 0;
  #late = false;
  #saying = false;
  /** @type {number | undefined} */
  #timer;
  #step;
  #say;

  /**
   * @param {number} window frames that the server sends ahead
   * @param {(frames: number) => void} say sends the count
   */
  constructor(window, say) {
    this.#step = Math.max(1, Math.floor(window / 4));
    this.#say = say;
  }

  /** One more counted frame came. */
  received() {
    this.#received += 1;
    this.#timer ??= this.#limit();
  }

  /** The next of those that came is handled, and painted where somebody looks. @param {boolean} hidden nobody does */
  handled(hidden) {
    this.#handled += 1;
    this.#look(hidden);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#say = () => {};
  }

  #look(hidden = false) {
    const ahead = this.#handled - this.#acknowledged;
    // timers of a hidden page may sleep for a minute: there nothing waits for one
    if (this.#saying || ahead === 0 || !(hidden || this.#late || ahead >= this.#step)) return;
    this.#saying = true;
    queueMicrotask(() => this.#acknowledge()); // what is handled together is said together
  }

  #acknowledge() {
    clearTimeout(this.#timer);
    this.#saying = this.#late = false;
    this.#acknowledged = this.#handled;
    this.#timer = this.#received > this.#handled ? this.#limit() : undefined;
    this.#say(this.#acknowledged);
  }

  #limit() {
    return setTimeout(() => {
      this.#late = true;
      this.#look();
    }, LATEST);
  }
}
