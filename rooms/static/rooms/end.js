// The end of something that scrolls and grows: who is there stays there, who reads further up is not disturbed.

const NEAR = 48; // px from the end that still count as being there

export class End {
  /** Whether the reader is there. */
  here = true;
  #height = 0; // of the content, as it was painted
  #frame = 0;
  #scroller;

  /** @param {HTMLElement} scroller @param {Element} content what grows in it */
  constructor(scroller, content) {
    this.#scroller = scroller;
    scroller.addEventListener("scroll", () => {
      // as it was painted: what was added since must not look as if somebody had scrolled away from it
      const height = Math.min(this.#height, scroller.scrollHeight);
      this.stick(height - scroller.scrollTop - scroller.clientHeight < NEAR);
    });
    const sizes = new ResizeObserver(() => this.#follow());
    sizes.observe(scroller);
    sizes.observe(content);
    this.stick(true);
  }

  /** @param {boolean} here */
  stick(here) {
    this.here = here;
    this.#scroller.classList.toggle("at-end", here); // there the browser must not hold on to what it shows
  }

  /** Something was added or removed. Looked at once a frame: in a flood each look would cost more than the content. */
  changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#follow();
    });
  }

  #follow() {
    this.#height = this.#scroller.scrollHeight;
    if (this.here) this.#scroller.scrollTop = this.#height;
  }
}
