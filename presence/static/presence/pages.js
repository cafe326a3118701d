// The people of a room that is too large to be told whole: page by page, by REST, when somebody asks. They come in the order
// in which they are here, so that the next page is below the one before.

/** @typedef {import("./roster.js").Present} Present */

const LIMIT = 50; // people a page

export class Pages {
  /** Those that were read. @type {Map<string, Present>} */
  #people = new Map();
  /** Where the next page is; null when there is none. @type {URL | null} */
  #next;
  #first;
  /** @type {Promise<void> | null} */
  #reading = null;

  /** @param {string} room `<tenant>/<room>` @param {string} api the folder of the REST API */
  constructor(room, api) {
    const [tenant, slug] = room.split("/").map(encodeURIComponent);
    this.#first = new URL(`${api}tenants/${tenant}/rooms/${slug}/presence/?limit=${LIMIT}`, location.href);
    this.#next = this.#first;
  }

  get people() {
    return [...this.#people.values()];
  }

  get done() {
    return this.#next === null;
  }

  /** From the beginning, when it is asked for again. */
  forget() {
    this.#people.clear();
    this.#next = this.#first;
  }

  /** The next page. @returns {Promise<void>} rejects when it cannot be had */
  read() {
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  async #read() {
    const address = this.#next;
    if (!address) return;
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`The people of this room cannot be read: HTTP ${answer.status}`);
    const { people, next } = await answer.json();
    if (address !== this.#next) return; // from the beginning, meanwhile
    for (const person of people) this.#people.set(person.user.id, person);
    this.#next = next ? new URL(new URL(next, address).search, this.#first) : null; // a proxy may know the site by another name
  }
}
