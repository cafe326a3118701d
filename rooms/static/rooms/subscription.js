// One room as a connection follows it, for all who read it: several tabs, or several places of one page. Each reader has a
// place of its own in the room's log, and hears what is above it, in order and once. The server knows one place: a join
// begins at the lowest of them, and what comes again that a reader has already is not told to it.

import { newId, parseCursor } from "./protocol.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/** @typedef {import("./switchboard.js").Port} Port */
/**
 * @typedef {object} Reader
 * @property {Port} port the tab
 * @property {{ epoch: string, seq: number } | null} place null: it begins where the room is now
 * @property {boolean} reading what comes is for it; else it waits for a join at its place
 * @property {boolean} present else it only looks in
 * @property {string} [asks] the id of its own join, which has no answer yet
 */

const AGAIN = 1_000; // ms after which a refused join is tried again for those who had joined before

export class Subscription {
  /** @type {Map<string, Reader>} */
  #readers = new Map();
  #epoch = "";
  #joinId = "";
  #present = true; // whether the server takes this person for one who is here, and will after the join under way
  #asksPresent = true;
  /** @type {Reader["place"]} */
  #from = null; // where the join under way begins
  #room;
  #say;
  #tell;

  /**
   * @param {string} room
   * @param {(vector: Vector) => void} say
   * @param {(port: Port, vector: Vector, reader: string) => void} tell
   */
  constructor(room, say, tell) {
    this.#room = room;
    this.#say = say;
    this.#tell = tell;
  }

  get isEmpty() {
    return this.#readers.size === 0;
  }

  /**
   * @param {string} id of the reader
   * @param {Port} port
   * @param {string} asks
   * @param {string} [cursor]
   * @param {boolean} [present]
   */
  join(id, port, asks, cursor, present = true) {
    const place = cursor ? parseCursor(cursor) : null;
    const before = this.#readers.get(id);
    // one that reads asks what it may do: it goes on, and what is on its way to it will not come again
    if (before?.reading && before.place?.epoch === place?.epoch) before.asks = asks;
    else this.#readers.set(id, { port, place, reading: false, present, asks });
    this.ask();
  }

  /** @param {string} id */
  leave(id) {
    if (!this.#readers.delete(id)) return;
    if (this.isEmpty) this.#say(["live.leave", {}, { room: this.#room, id: newId() }]);
    else this.ask();
  }

  /** The tab is gone. @param {Port} port */
  drop(port) {
    for (const [id, reader] of this.#readers) if (reader.port === port) this.leave(id);
  }

  /** Join for those who wait, unless that is under way. */
  ask() {
    const apace = [...this.#readers.values()].filter(({ port }) => !port.behind);
    const waiting = apace.filter(({ asks, reading }) => asks || !reading);
    const present = [...this.#readers.values()].some((reader) => reader.present);
    if (this.#joinId || !apace.length || !(waiting.length || present !== this.#present)) return;
    const epoch = this.#epoch || waiting.find(({ place }) => place)?.place?.epoch;
    const seqs = apace.flatMap(({ place }) => (place && place.epoch === epoch ? [place.seq] : []));
    this.#from = epoch && seqs.length ? { epoch, seq: Math.min(...seqs) } : null;
    this.#joinId = newId();
    this.#asksPresent = present;
    const data = { ...(this.#from && { cursor: `${epoch}:${this.#from.seq}` }), ...(!present && { present }) };
    this.#say(["live.join", data, { room: this.#room, id: this.#joinId }]);
  }

  /**
   * @param {Vector} vector `live.ok` or `live.error`
   * @returns {boolean} whether it answers the join
   */
  answered([name, data, meta]) {
    if (!this.#joinId || meta?.re !== this.#joinId) return false;
    this.#joinId = "";
    if (name === "live.ok") this.#joined(data);
    else this.#refused(data);
    return true;
  }

  /** @param {any} answer */
  #joined(answer) {
    const { verdict, epoch, head } = answer;
    const from = this.#from;
    this.#epoch = epoch;
    this.#present = this.#asksPresent;
    for (const [id, reader] of this.#readers) {
      const { place, port } = reader;
      if (port.behind) continue;
      if (!place) this.#settle(id, reader, answer, head, "live");
      else if (place.epoch !== epoch) this.#settle(id, reader, answer, head, "reset");
      else if (verdict === "resumed" && from && place.seq >= from.seq) {
        if (place.seq > head && !reader.reading) this.#settle(id, reader, answer, head, "reset");
        else this.#settle(id, reader, answer, place.seq, "resumed");
      } else if (verdict === "reset" && (place.seq > head || (from && from.epoch === epoch && place.seq <= from.seq))) {
        this.#settle(id, reader, answer, head, "reset");
      } else if (place.seq === head) {
        this.#settle(id, reader, answer, head, "resumed");
      } else reader.reading = false; // below where the others begin now, or come meanwhile
    }
    this.ask();
  }

  /** @param {string} id @param {Reader} reader @param {any} answer @param {number} seq @param {string} verdict */
  #settle(id, reader, answer, seq, verdict) {
    const cursor = `${answer.epoch}:${seq}`;
    const { asks, port } = reader;
    reader.place = { epoch: answer.epoch, seq };
    reader.reading = true;
    reader.asks = undefined;
    if (asks) this.#tell(port, ["live.ok", { ...answer, verdict, cursor }, { re: asks }], id);
    else if (verdict === "reset") this.#tell(port, ["live.reset", { cursor, reason: "" }, { room: this.#room }], id);
  }

  /** @param {{ code: string, detail: string, temporary?: boolean, retry_after_ms?: number }} refusal */
  #refused(refusal) {
    let again = refusal.temporary && this.#asksPresent !== this.#present;
    for (const [id, reader] of this.#readers) {
      const { asks, port, reading } = reader;
      reader.asks = undefined;
      if (asks) this.#tell(port, ["live.error", refusal, { re: asks }], id); // it asks again, where that can help
      if (reading || port.behind) continue;
      if (asks) this.#readers.delete(id);
      else if (refusal.temporary) again = true;
      else this.#end(id, reader, refusal);
    }
    if (again) setTimeout(() => this.ask(), refusal.retry_after_ms ?? AGAIN);
  }

  /** @param {string} id @param {Reader} reader @param {{ code: string, detail: string }} refusal */
  #end(id, { port }, { code, detail }) {
    this.#readers.delete(id);
    this.#tell(port, ["live.left", { code, reason: detail }, { room: this.#room }], id);
  }

  /** @param {Vector} vector of this room */
  heard(vector) {
    const [name, data, meta = {}] = vector;
    const seq = name === "live.cursor" ? data.seq : meta.seq;
    for (const [id, reader] of this.#readers) {
      if (reader.port.behind) reader.reading = false; // it goes on from its place when it has caught up
      if (name === "live.left") this.#readers.delete(id);
      else if (!reader.reading || !reader.place) continue;
      else if (name === "live.reset") reader.place = parseCursor(data.cursor);
      else if (seq !== undefined && seq <= reader.place.seq) continue;
      else reader.place.seq = seq ?? reader.place.seq;
      this.#tell(reader.port, vector, id);
    }
    if (name === "live.reset") this.#epoch = parseCursor(data.cursor).epoch;
  }
}
