// The connection itself: it opens a transport, and when that ends it waits as the protocol says and opens another. On a
// fallback it tries, in the background, to climb back to its first choice. It runs in a page or in a worker, and so knows
// nothing of a page: what happens to pages it is told.

import { Emitter, backoff, mayReturn } from "./protocol.js";
import { race } from "./race.js";
import { TIMES } from "./times.js";

/**
 * @typedef {import("./websocket.js").Transport} Transport
 * @typedef {object} State
 * @property {"connecting" | "connected" | "reconnecting" | "offline" | "stopped"} state offline: reconnecting, and the
 *   browser says that there is no network
 * @property {import("./transports.js").Name} [transport] while it is connected
 * @property {number} [retryAt] when the next attempt begins, as `Date.now()` counts; none while one is under way
 * @property {number} [code] the close code after which it stopped
 * @property {string} [reason]
 * @property {boolean} everOpen
 */

export const UNAUTHENTICATED = 4501;
const IDLE = 4440; // until the user acts
const STEADY = 10_000; // ms that a connection must last to count as a success
const HURRY = 1_000; // ms from one attempt to the next, however often one is asked to hurry
const PATIENT = 2; // attempts that the first transport has for itself, before the others have their turn in each

/** Emits `state`, `opened` with `live.hello`'s data, and `heard` with the vectors of each frame, as a transport does. */
export class Connection extends Emitter {
  /** @type {State} */
  state = { state: "stopped", everOpen: false };
  /** @type {Transport | null} */
  #transport = null;
  /** @type {Transport | null} */
  #better = null; // that is tried beside it
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #climbing;
  #told = false; // the server said how long to wait
  #openedAt = 0;
  #begunAt = 0;
  #tries = 0;
  #refusedLogin = false;
  watched = true; // somebody looks at what comes
  #open;
  #first;
  #order;

  /**
   * @param {ReturnType<import("./transports.js").opener>} open
   * @param {import("./transports.js").Name} first the transport that it climbs back to
   * @param {import("./transports.js").Name[]} order in which they are tried
   */
  constructor(open, first, order) {
    super();
    this.#open = open;
    this.#first = first;
    this.#order = order;
  }

  /** Connect, if it is not so already. */
  start() {
    if (this.state.state === "stopped") this.#begin("connecting");
  }

  /** @param {string} reason @param {number} [code] */
  stop(reason, code) {
    this.#close();
    this.#show({ state: "stopped", reason, code });
  }

  /**
   * Say this now, if there is somebody to hear it.
   *
   * @param {import("./protocol.js").Vector} vector
   * @throws {import("./protocol.js").LiveError} when it cannot be said at all
   */
  send(vector) {
    if (this.state.state === "connected") this.#transport?.send(vector);
  }

  /** @param {"connecting" | "reconnecting" | "offline"} state */
  #begin(state) {
    this.#begunAt = Date.now();
    this.#show({ state });
    this.#transport = this.#attempt(this.#order, this.#tries >= PATIENT);
  }

  /** @param {import("./transports.js").Name[]} names @param {boolean} hasty */
  #attempt(names, hasty) {
    /** @type {Transport} */
    const attempt = race(
      names,
      this.#open,
      {
        opened: (name, hello) => this.#opened(attempt, name, hello),
        heard: (vectors, handled) => this.emit("heard", vectors, handled),
        ended: (end) => (attempt === this.#better ? this.#climb() : this.#ended(end)),
      },
      hasty,
    );
    return attempt;
  }

  /**
   * @param {Transport} transport
   * @param {import("./transports.js").Name} name
   * @param {import("./websocket.js").Hello} hello
   */
  #opened(transport, name, hello) {
    if (transport === this.#better) this.#transport?.close(); // the rooms go on where they were, on the better one
    this.#better = null;
    this.#transport = transport;
    this.#refusedLogin = false;
    this.#openedAt = Date.now();
    this.#order = [name, ...this.#order.filter((other) => other !== name)];
    this.#show({ state: "connected", transport: name, everOpen: true });
    if (name !== this.#first) this.#climb();
    this.emit("opened", hello);
  }

  /** Later, try the first choice beside what works. */
  #climb() {
    this.#better = null;
    clearTimeout(this.#climbing);
    this.#climbing = setTimeout(
      () => {
        if (!this.watched || !navigator.onLine) this.#climb();
        else this.#better = this.#attempt([this.#first], false);
      },
      TIMES.climb * (0.75 + Math.random() / 2),
    );
  }

  /** @param {import("./websocket.js").End} end */
  #ended({ code, reason, retryAfter }) {
    this.#close();
    if (this.#openedAt && Date.now() - this.#openedAt >= STEADY) this.#tries = 0;
    this.#openedAt = 0;
    const secondChance = code === UNAUTHENTICATED && !this.#refusedLogin; // the session may have been renewed
    if (secondChance) this.#refusedLogin = true;
    else if (!mayReturn(code) || code === IDLE) return this.stop(reason, code);
    this.#told = retryAfter !== undefined;
    const wait = retryAfter ?? backoff(this.#tries++);
    this.#show({ state: navigator.onLine ? "reconnecting" : "offline", reason, retryAt: Date.now() + wait });
    this.#timer = setTimeout(() => this.#retry(), wait);
  }

  #retry() {
    clearTimeout(this.#timer);
    this.#begin(navigator.onLine ? "reconnecting" : "offline");
  }

  /** The network is back, or somebody looks or speaks: do not sit out a wait of our own. */
  hurry() {
    if (this.state.retryAt === undefined || this.#told) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#retry(), Math.max(0, this.#begunAt + HURRY - Date.now()));
  }

  /** The connection is gone: do not wait for the silence to tell. @param {string} reason */
  lose(reason) {
    if (this.#transport) this.#ended({ code: 1006, reason });
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#climbing);
    this.#transport?.close();
    this.#better?.close();
    this.#transport = this.#better = null;
  }

  /** @param {Omit<State, "everOpen"> & { everOpen?: boolean }} state */
  #show(state) {
    this.state = { everOpen: this.state.everOpen, ...state };
    this.emit("state", this.state);
  }
}
