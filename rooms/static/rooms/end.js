// The end of something that scrolls and grows: who is there stays there, who reads further up is not disturbed.

const NEAR = 48; // px from the end that still count as being there

export class End {
  /** Whether the reader is there. */
  here = true;
  /** Told when the reader came here, or left. @type {(here: boolean) => void} */
  moved = () => {};
  #height = 0; // of the content, as it was painted
  #frame = 0;
  #scroller;
  #sizes;

  /** @param {HTMLElement} scroller @param {Element} content what grows in it */
  constructor(scroller, content) {
    this.#scroller = scroller;
    scroller.addEventListener("scroll", () => {
      // as it was painted: what was added since must not look as if somebody had scrolled away from it
      const height = Math.min(this.#height, scroller.scrollHeight);
      this.stick(height - scroller.scrollTop - scroller.clientHeight < NEAR);
    });
    this.#sizes = new ResizeObserver(() => this.#follow());
    this.#sizes.observe(scroller);
    this.#sizes.observe(content);
    this.stick(true);
    this.#follow();
  }

  stop() {
    this.#sizes.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {boolean} here */
  stick(here) {
    const moved = here !== this.here;
    this.here = here;
    this.#scroller.classList.toggle("at-end", here); // there the browser must not hold on to what it shows
    if (moved) this.moved(here);
  }

  /** Go there. */
  seek() {
    this.stick(true);
    this.#follow();
  }

  /** Something was added or removed. Looked at once a frame: in a flood each look would cost more than the content. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#follow();
    });
  }

  /** Change what is above the reader's eyes, and leave them where they were. @param {() => void} change */
  hold(change) {
    const scroller = this.#scroller;
    const below = scroller.scrollHeight - scroller.scrollTop;
    scroller.classList.add("holding"); // one of us holds on, not the browser too
    change();
    this.#height = scroller.scrollHeight;
    scroller.scrollTop = this.#height - below;
    requestAnimationFrame(() => scroller.classList.remove("holding"));
  }

  #follow() {
    this.#height = this.#scroller.scrollHeight;
    if (this.here) this.#scroller.scrollTop = this.#height;
  }
}
