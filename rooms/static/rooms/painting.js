// When what came has been painted: the end of a frame's way. In a hidden page nothing is painted, and handled is enough.

const LATEST = 4_000; // ms; in a window behind others the next paint may never come

export class Painting {
  #handled = 0;
  #told = 0;
  #waiting = false;
  /** @type {number | undefined} */
  #timer;
  #tell;

  /** @param {(frames: number) => void} tell how many were painted, of all that were handled */
  constructor(tell) {
    this.#tell = tell;
    document.addEventListener("visibilitychange", this.#hidden);
  }

  /** The listeners have handled one more frame. */
  frame() {
    this.#handled += 1;
    if (document.hidden) return this.#hidden();
    this.#timer ??= setTimeout(() => this.#painted(this.#handled), LATEST);
    if (!this.#waiting) this.#await();
  }

  stop() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#hidden);
    this.#tell = () => {};
  }

  #await() {
    this.#waiting = true;
    requestAnimationFrame(() => {
      const handled = this.#handled;
      // the callback comes before the paint, a task that it starts after it
      setTimeout(() => {
        this.#waiting = false;
        this.#painted(handled);
        if (handled < this.#handled) this.#await();
      });
    });
  }

  #hidden = () => {
    if (document.hidden) this.#painted(this.#handled);
  };

  /** @param {number} frames */
  #painted(frames) {
    if (frames <= this.#told) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#told = frames;
    this.#tell(frames);
  }
}
