// Whether somebody is at this page: they see it, and have touched something a short while ago.

const IDLE = 5 * 60_000; // ms without a movement
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel", "focus"]; // not scroll: the page does that too

export class Attention {
  here = !document.hidden;
  #last = Date.now();
  /** @type {number | undefined} */
  #timer;
  #life = new AbortController();
  #told;

  /** @param {(here: boolean) => void} told when it changes */
  constructor(told) {
    this.#told = told;
    const { signal } = this.#life;
    const options = { capture: true, passive: true, signal };
    for (const sign of SIGNS) addEventListener(sign, (event) => moves(event) && this.#moved(), options);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#is(false) : this.#moved()), { signal });
    this.#wait();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#life.abort();
  }

  #moved() {
    this.#last = Date.now();
    if (!this.here && !document.hidden) this.#is(true);
  }

  /** @param {boolean} here */
  #is(here) {
    if (here === this.here) return;
    this.here = here;
    this.#wait();
    this.#told(here);
  }

  /** One timer, however much moves. */
  #wait() {
    clearTimeout(this.#timer);
    if (this.here) this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#last + IDLE - Date.now()));
  }

  #look() {
    if (Date.now() - this.#last >= IDLE) this.#is(false);
    else this.#wait();
  }
}

/** What moves under a pointer that rests is no movement of anybody's. @param {Event} event */
function moves(event) {
  return event.type !== "pointermove" || !(event instanceof PointerEvent) || event.movementX !== 0 || event.movementY !== 0;
}
