// The connection itself: it opens a transport, and when that ends it waits as the protocol says and opens another. On a
// fallback it tries, in the background, to climb back to its first choice.

import { Emitter, backoff, mayReturn } from "./protocol.js";
import { race } from "./race.js";
import { TIMES } from "./times.js";
import { ORDER, opener, order, remember } from "./transports.js";

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
const PATIENT = 2; // attempts that the first transport has for itself, before the others have their turn in each

/** Emits `state`, `opened` with `live.hello`'s data, and `heard` with each vector after it. */
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
  #tries = 0;
  #refusedLogin = false;
  #open;
  #need;

  /** @param {URL} base the folder of the endpoints @param {import("./transports.js").Need} need */
  constructor(base, need) {
    super();
    this.#open = opener(base);
    this.#need = need;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#lose("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    // A page that is kept to come back to must hold no connection, and finds it dead in any case.
    addEventListener("pagehide", ({ persisted }) => persisted && this.#lose("the page rests"));
    addEventListener("pageshow", ({ persisted }) => persisted && this.#hurry());
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
    this.#show({ state });
    this.#transport = this.#attempt(order(this.#need), this.#tries >= PATIENT);
  }

  /** @param {import("./transports.js").Name[]} names @param {boolean} hasty */
  #attempt(names, hasty) {
    const heard = (/** @type {import("./protocol.js").Vector} */ vector) => this.emit("heard", vector);
    /** @type {Transport} */
    const attempt = race(
      names,
      this.#open,
      {
        opened: (name, hello) => this.#opened(attempt, name, hello),
        heard,
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
    remember(this.#need, name);
    this.#show({ state: "connected", transport: name, everOpen: true });
    if (name !== ORDER[this.#need][0]) this.#climb();
    this.emit("opened", hello);
  }

  /** Later, try the first choice beside what works. */
  #climb() {
    this.#better = null;
    clearTimeout(this.#climbing);
    this.#climbing = setTimeout(
      () => {
        if (document.hidden || !navigator.onLine) this.#climb();
        else this.#better = this.#attempt(ORDER[this.#need].slice(0, 1), false);
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

  /** The network is back, or somebody looks: do not sit out a wait of our own. */
  #hurry() {
    if (this.state.retryAt !== undefined && !this.#told) this.#retry();
  }

  /** The connection is gone: do not wait for the silence to tell. @param {string} reason */
  #lose(reason) {
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
