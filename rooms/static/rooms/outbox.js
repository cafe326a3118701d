// Commands without an answer, in their order. Those with an effect outlast a reload: what was said before it is said again
// after it, with its id, and so happens once. They are kept for one tab, one person and one log-in, and never longer than
// the server remembers ids.

import { LiveError } from "./protocol.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/**
 * @typedef {object} Command
 * @property {Vector} vector
 * @property {number} at when it was given, as `Date.now()` counts
 * @property {(answer: any) => void} resolve
 * @property {(error: LiveError) => void} reject
 * @property {number} [deadline] set when it was first said, on a connection that could have answered
 * @property {number} [timer]
 */

const PREFIX = "rooms.outbox:";
const MOST = 200; // commands; beyond that nobody will wait for them
const KEPT = 20 * 3_600_000; // ms; the server remembers ids for 24 hours
const TRANSIENT = new Set(["chat.typing", "chat.read", "presence.set"]); // worth nothing later
const LIMIT = { transient: 10_000, effect: 30_000 }; // ms from the first time that it was said to the answer

export class Outbox {
  /** @type {Map<string, Command>} */
  #commands = new Map();
  #key;

  /** @param {string | null | undefined} person whose they are; what nobody in particular says does not outlast the page */
  constructor(person) {
    this.#key = person ? PREFIX + person : null;
    if (person !== undefined) forgetOthers(this.#key);
  }

  /** All, in order. A command may be settled while one goes through them. @returns {Command[]} */
  all() {
    return [...this.#commands.values()];
  }

  /** What an earlier page of this tab left here. @param {(error: LiveError, vector: Vector) => void} lost */
  restore(lost) {
    for (const { vector, at } of this.#stored()) {
      const id = vector[2]?.id ?? "";
      if (Date.now() - at > KEPT || this.#commands.has(id)) continue;
      this.#commands.set(id, { vector, at, resolve: () => {}, reject: (error) => lost(error, vector) });
    }
    this.#store();
  }

  /** @param {Vector} vector @returns {{ command: Command, answer: Promise<any> }} */
  add(vector) {
    const id = vector[2]?.id ?? "";
    const { resolve, reject, promise: answer } = defer();
    const before = this.#commands.get(id);
    const command = before ?? { vector, at: Date.now(), resolve, reject };
    if (before) {
      answer.then(before.resolve, before.reject); // whoever asked before hears the same
      Object.assign(before, { resolve, reject });
    } else if (this.#commands.size >= MOST) {
      reject(new LiveError({ code: "too_many", detail: "Too much waits to be sent.", temporary: true }));
    } else {
      this.#commands.set(id, command);
      this.#store();
    }
    return { command, answer };
  }

  /** It is said now, on a connection that can answer. @param {Command} command */
  said(command) {
    if (command.deadline) return;
    const limit = TRANSIENT.has(command.vector[0]) ? LIMIT.transient : LIMIT.effect;
    command.deadline = Date.now() + limit;
    command.timer = setTimeout(() => {
      if (this.#commands.get(command.vector[2]?.id ?? "") !== command) return;
      this.take(command.vector[2]?.id);
      command.reject(new LiveError({ code: "timeout", detail: "There was no answer in time.", temporary: true }));
    }, limit);
  }

  /** The connection is lost: the time that counts begins anew with the next one. */
  unsaid() {
    for (const command of this.#commands.values()) {
      clearTimeout(command.timer);
      command.deadline = undefined;
    }
  }

  /** Whether a refused command has so many ms left. @param {string} id @param {number} wait @returns {boolean} */
  mayWait(id, wait) {
    return Date.now() + wait < (this.#commands.get(id)?.deadline ?? 0);
  }

  /** @param {string} id */
  get(id) {
    return this.#commands.get(id);
  }

  /** It waits no longer. @param {string} [id] @returns {Command | undefined} */
  take(id = "") {
    const command = this.#commands.get(id);
    if (!command) return undefined;
    clearTimeout(command.timer);
    this.#commands.delete(id);
    this.#store();
    return command;
  }

  #store() {
    if (!this.#key) return;
    const lasting = this.all().filter(({ vector }) => !TRANSIENT.has(vector[0]));
    try {
      if (lasting.length) sessionStorage.setItem(this.#key, JSON.stringify(lasting.map(({ vector, at }) => ({ vector, at }))));
      else sessionStorage.removeItem(this.#key);
    } catch {
      // full, or none here: they last as long as the page
    }
  }

  /** @returns {{ vector: Vector, at: number }[]} */
  #stored() {
    try {
      return JSON.parse((this.#key && sessionStorage.getItem(this.#key)) ?? "[]");
    } catch {
      return [];
    }
  }
}

/** After another log-in nothing of the one before is left in this tab. @param {string | null} key that is kept */
function forgetOthers(key) {
  try {
    for (const other of Object.keys(sessionStorage)) {
      if (other.startsWith(PREFIX) && other !== key) sessionStorage.removeItem(other);
    }
  } catch {
    // no storage here
  }
}

/** `Promise.withResolvers`, which browsers have only since 2024. */
function defer() {
  /** @type {(answer: any) => void} */
  let resolve = () => {};
  /** @type {(error: LiveError) => void} */
  let reject = () => {};
  const promise = new Promise((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}
