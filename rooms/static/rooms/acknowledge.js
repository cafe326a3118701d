// Flow control: tells the server how many frames with events this page has handled and painted. A page that cannot keep
// up gets no more than it acknowledged plus the window; the rest waits in the room's log.

const LATEST = 5_000; // ms: the protocol's limit for an unacknowledged frame

export class Acknowledger {
  #received = 0;
  #painted = 0;
  #acknowledged = 0;
  #painting = false;
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
    document.addEventListener("visibilitychange", this.#hidden);
  }

  /** The listeners have handled one more counted frame. */
  frame() {
    this.#received += 1;
    if (document.hidden) {
      this.#hidden();
    } else {
      this.#timer ??= setTimeout(this.#late, LATEST);
      if (!this.#painting) this.#awaitPaint();
    }
  }

  stop() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#hidden);
    this.#say = () => {};
  }

  #awaitPaint() {
    this.#painting = true;
    requestAnimationFrame(() => {
      const received = this.#received;
      // the callback comes before the paint, a task that it starts after it
      setTimeout(() => {
        this.#painting = false;
        this.#painted = Math.max(this.#painted, received);
        if (this.#painted < this.#received) this.#awaitPaint();
        if (this.#painted - this.#acknowledged >= this.#step) this.#acknowledge(this.#painted);
      });
    });
  }

  /** A hidden page paints nothing, and its timers may sleep for a minute: it acknowledges at once. */
  #hidden = () => {
    if (document.hidden) this.#acknowledge(this.#received);
  };

  /** The limit is reached. In a window behind others even painted frames may never come: what was handled counts. */
  #late = () => this.#acknowledge(this.#received);

  /** @param {number} frames */
  #acknowledge(frames) {
    clearTimeout(this.#timer);
    this.#timer = this.#received > frames ? setTimeout(this.#late, LATEST) : undefined;
    if (frames > this.#acknowledged) {
      this.#acknowledged = frames;
      this.#say(frames);
    }
  }
}
