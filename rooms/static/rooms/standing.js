// What holds of a person in a room for as long as the connection lasts: a status, say. Each tab puts its word; the highest
// rank holds, and of equals the latest. It is said when that changes and on each new connection, never twice on one. What
// falls in rank waits a while: a page that is loaded again, or a glance at another tab, is nothing to tell.

import { newId } from "./protocol.js";
import { TIMES } from "./times.js";

/** @typedef {import("./switchboard.js").Port} Port */
/**
 * @typedef {object} Word
 * @property {object} data
 * @property {number} rank
 * @property {boolean} silent on a new connection it holds without being said
 *
 * @typedef {object} Place
 * @property {string} room
 * @property {string} name of the command
 * @property {Map<string, Word & { port: Port }>} words by reader
 * @property {{ text: string, rank: number } | null} held what the server has from this connection; null: nothing yet
 * @property {number} [timer]
 */

const AGAIN = 5_000; // ms after which a word that was refused for now is said again, if the server does not say when

export class Standing {
  /** By name and room. @type {Map<string, Place>} */
  #places = new Map();
  /** @type {Set<string>} */
  #joined = new Set();
  /** By the id of the question. @type {Map<string, { place: Place, word: Place["held"] }>} */
  #asked = new Map();
  #say;

  /** @param {(vector: import("./protocol.js").Vector) => void} say */
  constructor(say) {
    this.#say = say;
  }

  /** @param {Port} port @param {string} reader @param {string} room @param {string} name @param {Word} word */
  put(port, reader, room, name, word) {
    const key = `${name} ${room}`;
    const place = this.#places.get(key) ?? { room, name, words: new Map(), held: null };
    this.#places.set(key, place);
    const { data, rank, silent } = word;
    const before = place.words.get(reader);
    if (before && before.rank === rank && same(before.data, data)) return;
    place.words.delete(reader); // the latest is the last
    place.words.set(reader, { port, data, rank, silent });
    this.#settle(place);
  }

  /** @param {(reader: string, word: Word & { port: Port }) => boolean} which */
  drop(which) {
    for (const place of this.#places.values()) {
      const gone = [...place.words].filter(([reader, word]) => which(reader, word));
      for (const [reader] of gone) place.words.delete(reader);
      if (gone.length) this.#settle(place);
    }
  }

  /** The connection is in this room: now it can be said. @param {string} room */
  joined(room) {
    this.#joined.add(room);
    for (const place of this.#places.values()) if (place.room === room) this.#settle(place);
  }

  /** The connection goes on without this room. What the server keeps of it is not known. @param {string} room */
  left(room) {
    this.#joined.delete(room);
    for (const place of this.#places.values()) {
      if (place.room !== room) continue;
      clearTimeout(place.timer);
      place.held = { text: "", rank: -Infinity };
    }
  }

  /** Nothing was said on the new connection. */
  reset() {
    this.#joined.clear();
    this.#asked.clear();
    for (const place of this.#places.values()) {
      clearTimeout(place.timer);
      place.held = null;
    }
  }

  /** @param {import("./protocol.js").Vector} vector @returns {boolean} whether it answers a word */
  answered([name, data, meta]) {
    const id = meta?.re ?? "";
    const { place, word } = this.#asked.get(id) ?? {};
    if (!place) return false;
    this.#asked.delete(id);
    if (name === "live.error" && data.temporary && place.held === word) {
      place.held = { text: "", rank: -Infinity };
      clearTimeout(place.timer);
      place.timer = setTimeout(() => this.#settle(place), data.retry_after_ms ?? AGAIN);
    }
    return true;
  }

  /** @param {Place} place */
  #settle(place) {
    clearTimeout(place.timer);
    const word = best(place.words.values());
    if (!word || !this.#joined.has(place.room)) return;
    const next = { text: JSON.stringify(word.data), rank: word.rank };
    if (place.held?.text === next.text) place.held.rank = next.rank;
    else if (!place.held && word.silent) place.held = next;
    else if (place.held && next.rank < place.held.rank) place.timer = setTimeout(() => this.#tell(place, next), TIMES.linger);
    else this.#tell(place, next);
  }

  /** @param {Place} place @param {{ text: string, rank: number }} word */
  #tell(place, word) {
    const id = newId();
    place.held = word;
    this.#asked.set(id, { place, word });
    this.#say([place.name, JSON.parse(word.text), { room: place.room, id }]);
  }
}

/** @template {Word} W @param {Iterable<W>} words @returns {W | undefined} */
function best(words) {
  return [...words].reduce((/** @type {W | undefined} */ one, other) => (one && one.rank > other.rank ? one : other), undefined);
}

/** @param {object} one @param {object} other */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
