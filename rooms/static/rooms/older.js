// What was said before: fetched as the page of older messages that works without JavaScript too.

const AHEAD = "600px"; // above what is seen: there before one gets there

export class Older {
  /** @type {Promise<void> | null} */
  #loading = null;
  #link;
  #list;
  #look;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} link the paragraph with the link to older messages
   * @param {import("./messages.js").MessageList} list
   */
  constructor(scroller, link, list) {
    this.#link = link;
    this.#list = list;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      this.load();
    });
    this.#look = new IntersectionObserver(
      ([entry]) => entry.isIntersecting && !list.end.here && this.load(),
      { root: scroller, rootMargin: `${AHEAD} 0px 0px` },
    );
    this.#look.observe(link);
  }

  stop() {
    this.#look.disconnect();
  }

  /** @returns {Promise<void>} when what could be had is here */
  load() {
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    return this.#loading;
  }

  /** Until this message is here, or there is no more. @param {string} id */
  async find(id) {
    for (let pages = 0; pages < 20 && !this.#list.get(id) && !this.#link.hidden; pages++) await this.load();
    return this.#list.get(id);
  }

  async #load() {
    const first = this.#list.items()[0];
    const link = /** @type {HTMLAnchorElement} */ (this.#link.querySelector("a"));
    if (!first) return;
    const address = new URL(link.href);
    address.searchParams.set("before", first.dataset.seq ?? "");
    this.#link.classList.add("loading");
    const page = await fetchPage(address.href).catch(() => null);
    this.#link.classList.remove("loading");
    if (!page) return; // the link is there still
    this.#list.end.hold(() => {
      this.#list.prepend(page.items);
      this.#link.hidden = !page.older;
    });
    this.#look.unobserve(this.#link); // looks afresh: it may be in sight still
    this.#look.observe(this.#link);
  }
}

/** @param {string} address of a room's page @throws when it cannot be had */
export async function fetchPage(address) {
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) throw new Error(`The page answered ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const room = page.querySelector("live-room");
  if (!room) throw new Error("The page has no room");
  const items = /** @type {NodeListOf<HTMLElement>} */ (room.querySelectorAll("[data-messages] li"));
  return {
    room: /** @type {HTMLElement} */ (room),
    cursor: room.getAttribute("cursor") ?? "",
    items: [...items].map((item) => document.importNode(item, true)),
    marks: room.querySelector("[data-marks]"),
    older: !(/** @type {HTMLElement} */ (room.querySelector("[data-older]")).hidden),
  };
}
