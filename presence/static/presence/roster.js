// Who is in a room, from what the server tells: `presence.state` is everybody, `presence.diff` what has changed since. A
// diff that comes twice, or that the state had already, changes nothing. Knows nothing of a page.

/**
 * @typedef {"active" | "away" | "busy"} Status
 * @typedef {{ transport: string, since: string, device: string }} Means what a person is here by
 * @typedef {object} Present one person, however many connections they have
 * @property {{ id: string, name: string }} user
 * @property {Status} status
 * @property {string} text
 * @property {string} since
 * @property {Means[]} metas
 *
 * @typedef {{ people: Present[], count: number }} State
 * @typedef {{ joined: Present[], left: Present[], changed: Present[], count: number }} Diff
 */

export class Roster {
  /** How many are here; null before the first state. @type {number | null} */
  count = null;
  /** Everybody is named. In a large room nobody is, and only `count` is true. */
  whole = false;
  /** @type {Map<string, Present>} */
  #people = new Map();

  /** @param {State} state */
  begin({ people, count }) {
    this.count = count;
    this.whole = people.length >= count;
    this.#people = new Map(this.whole ? people.map((person) => [person.user.id, person]) : []);
  }

  /** @param {Diff} diff @returns {boolean} whether it could be used: not before the first state */
  follow({ joined, left, changed, count }) {
    if (this.count === null) return false;
    this.count = count;
    if (!this.whole) return true; // it will be told whole again
    for (const { user } of left) this.#people.delete(user.id);
    for (const person of [...joined, ...changed]) this.#people.set(person.user.id, person);
    const silent = !joined.length && !left.length && !changed.length;
    if (silent && this.#people.size !== count) this.whole = false; // it has grown too large
    if (!this.whole) this.#people.clear();
    return true;
  }

  /** Nothing is known any more: the room was left. */
  forget() {
    this.count = null;
    this.whole = false;
    this.#people.clear();
  }

  /** @param {string} id */
  get(id) {
    return this.#people.get(id);
  }

  /** By name, oneself first. A status moves nobody. @param {string} me @returns {Present[]} */
  people(me) {
    const own = (/** @type {Present} */ { user }) => Number(user.id !== me);
    return [...this.#people.values()].sort(
      (a, b) => own(a) - own(b) || ORDER.compare(a.user.name, b.user.name) || ORDER.compare(a.user.id, b.user.id),
    );
  }
}

const ORDER = new Intl.Collator(undefined, { numeric: true });
