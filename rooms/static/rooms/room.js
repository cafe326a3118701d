// One room as this page follows it: its place in the log, and what it does when the place is lost.

import { Emitter, LiveError, backoff, newId, parseCursor } from "./protocol.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/**
 * @typedef {{ cursor: string, show: () => void }} Snapshot the room as it is, not yet shown, and its place in the log
 * @typedef {object} RoomOptions
 * @property {string} [cursor] `<epoch>:<seq>`: where to go on; without it, events follow from now on
 * @property {boolean} [present] false: this page only looks in, and is nobody who is here
 * @property {() => Promise<Snapshot>} [snapshot] loads the room afresh, when events were lost
 *
 * @typedef {object} Ways to the server
 * @property {(id: string, cursor: string | undefined, present: boolean) => void} join id: of the question
 * @property {() => void} leave
 * @property {(name: string, word: import("./standing.js").Word) => void} stand
 * @property {(name: string, data: object, meta: { room: string, id: string }) => Promise<any>} perform
 */

const HELD_MAX = 1_000; // events that wait for a snapshot; beyond that another one is cheaper

/**
 * Emits every event by its name, `(data, meta)`, each logged one once and in order; and `joined` with the answer,
 * `refused` with a LiveError when the room cannot be joined, `left` with `{code, reason}`; and, where there is no snapshot
 * to load, `reset` with `{cursor}`: what was before it cannot be told any more.
 */
export class LiveRoom extends Emitter {
  /** What this person may do here, from the last answer: "read", "write", "moderate", "manage". @type {string[]} */
  can = [];
  #epoch = "";
  #seq = 0; // the last that came
  #shown = 0; // the last that was told, or is in the snapshot
  #open = true;
  /** @type {Vector[] | null} */
  #held = null; // what comes while a snapshot is loaded
  #reload = 0;
  #joinId = "";
  #askAgain = false;
  #deaf = false;
  #tries = 0;
  /** @type {Map<string, import("./standing.js").Word>} */
  #words = new Map();
  #ways;
  #snapshot;
  #present;

  /**
   * @param {string} name `<tenant>/<room>`
   * @param {RoomOptions} options
   * @param {Ways} ways
   */
  constructor(name, { cursor, present = true, snapshot }, ways) {
    super();
    this.name = name;
    this.#present = present;
    this.#snapshot = snapshot;
    this.#ways = ways;
    if (cursor) this.#moveTo(cursor);
  }

  /**
   * Do a command here. It is sent again after a lost connection until it is answered, and happens once.
   *
   * @param {string} name
   * @param {object} data
   * @param {{ id?: string }} [options] the id of an earlier attempt, so that both together happen once
   * @returns {Promise<any>} the answer; rejects with a LiveError
   */
  send(name, data, { id = newId() } = {}) {
    return this.#ways.perform(name, data, { room: this.name, id });
  }

  /**
   * Say what holds of this person here for as long as the connection lasts, and again on each new one. All tabs together
   * say it once: the highest rank of theirs, and of equals the latest.
   *
   * @param {string} name of a command that is worth nothing later
   * @param {object} data
   * @param {{ rank?: number, silent?: boolean }} [options] silent: on a new connection it holds without being said
   */
  stand(name, data, { rank = 0, silent = false } = {}) {
    const word = { data, rank, silent };
    this.#words.set(name, word);
    this.#ways.stand(name, word);
  }

  /** Join, or join again to learn what one may do here now. Nothing is lost and nothing comes twice. */
  join() {
    if (!this.#open) return;
    this.#askAgain = this.#joinId !== ""; // what was asked before may be answered with what was true before
    if (this.#askAgain) return;
    this.#joinId = newId();
    this.#ways.join(this.#joinId, this.#epoch ? `${this.#epoch}:${this.#seq}` : undefined, this.#present);
  }

  /** There is a new connection: what was asked on another has no answer. */
  reopened() {
    this.#joinId = "";
    for (const [name, word] of this.#words) this.#ways.stand(name, word); // whoever held the connection may be gone
    this.join();
  }

  /** Follow it no longer. */
  leave() {
    this.#open = false;
    this.#ways.leave();
  }

  /** @param {Vector} vector an event of this room, or what answers a join */
  hear(vector) {
    if (vector[2]?.room === undefined) this.#answered(vector);
    else this.#receive(vector);
  }

  /** @param {Vector} vector `live.ok` or `live.error` */
  #answered([name, data, meta]) {
    if (!this.#joinId || meta?.re !== this.#joinId) return;
    this.#joinId = "";
    if (name === "live.ok") {
      this.#tries = 0;
      this.can = data.can;
      if (data.verdict === "reset") this.#reset(data.cursor);
      else if (data.verdict === "live") this.#moveTo(data.cursor);
      this.#deaf = data.epoch !== this.#epoch;
      this.emit("joined", data);
      if (this.#askAgain || this.#deaf) this.join();
    } else if (data.temporary) {
      setTimeout(() => this.#joinId || this.join(), data.retry_after_ms ?? 500 + backoff(this.#tries++));
    } else {
      this.#open = false;
      this.emit("refused", new LiveError(data));
    }
  }

  /** @param {Vector} vector with this room in its meta */
  #receive(vector) {
    const [name, data, meta] = vector;
    if (name === "live.cursor") {
      if (!this.#deaf) this.#seq = Math.max(this.#seq, data.seq);
    } else if (name === "live.reset") {
      this.#reset(data.cursor);
    } else if (name === "live.left") {
      this.#open = false;
      this.emit("left", data);
    } else if (!this.#deaf && (meta?.seq === undefined || meta.seq > this.#seq)) {
      this.#seq = meta?.seq ?? this.#seq;
      if (this.#held) this.#hold(vector, this.#held);
      else this.#tell(vector);
    }
  }

  /** @param {string} cursor */
  #moveTo(cursor) {
    const { epoch, seq } = parseCursor(cursor);
    this.#epoch = epoch;
    this.#seq = this.#shown = seq;
  }

  /** @param {Vector} vector */
  #tell([name, data, meta]) {
    const seq = meta?.seq;
    if (seq !== undefined && seq <= this.#shown) return; // the snapshot has it
    this.#shown = seq ?? this.#shown;
    this.emit(name, data, meta);
  }

  /** @param {Vector} vector @param {Vector[]} held */
  #hold(vector, held) {
    held.push(vector);
    if (held.length > HELD_MAX) this.#reset(`${this.#epoch}:${this.#seq}`);
  }

  /** Events are lost. From this cursor on they follow; what was before is in the snapshot. @param {string} cursor */
  async #reset(cursor) {
    this.#moveTo(cursor);
    this.#deaf = false;
    if (!this.#snapshot) {
      this.emit("reset", { cursor });
      return;
    }
    this.#held = [];
    const turn = ++this.#reload;
    for (let tries = 0; turn === this.#reload && this.#open; tries++) {
      const snapshot = await this.#snapshot().catch(() => null);
      if (turn !== this.#reload) return; // a later one is under way
      if (snapshot) return this.#resume(snapshot);
      await new Promise((resolve) => setTimeout(resolve, 500 + backoff(tries)));
    }
  }

  /** @param {Snapshot} snapshot */
  #resume({ cursor, show }) {
    const held = this.#held ?? [];
    const { epoch, seq } = parseCursor(cursor);
    this.#held = null;
    show();
    if (epoch !== this.#epoch) {
      this.#moveTo(cursor); // another history began meanwhile, and what is on its way is still of the one before
      this.#deaf = true;
      return this.join();
    }
    this.#shown = seq;
    held.forEach((vector) => this.#tell(vector));
  }
}
