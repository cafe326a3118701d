// The connection itself: it opens a transport, and when that ends it waits as the protocol says and opens another.

import { Emitter, backoff, mayReturn } from "./protocol.js";
import { openWebSocket } from "./websocket.js";

/**
 * @typedef {object} State
 * @property {"connecting" | "connected" | "reconnecting" | "offline" | "stopped"} state offline: reconnecting, and the
 *   browser says that there is no network
 * @property {number} [retryAt] when the next attempt begins, as `Date.now()` counts; none while one is under way
 * @property {number} [code] the close code after which it stopped
 * @property {string} [reason]
 * @property {boolean} everOpen
 */

export const UNAUTHENTICATED = 4501;
const IDLE = 4440; // until the user acts
const STEADY = 10_000; // ms that a connection must last to count as a success

/** Emits `state`, `opened` with `live.hello`'s data, and `heard` with each vector after it. */
export class Connection extends Emitter {
  /** @type {State} */
  state = { state: "stopped", everOpen: false };
  /** @type {import("./websocket.js").Transport | null} */
  #transport = null;
  /** @type {number | undefined} */
  #timer;
  #told = false; // the server said how long to wait
  #openedAt = 0;
  #tries = 0;
  #refusedLogin = false;
  #url;

  /** @param {string | URL} url of the WebSocket; http for ws and https for wss do as well */
  constructor(url) {
    super();
    this.#url = new URL(url, location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#lose());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /** Connect, if it is not so already. */
  start() {
    if (this.state.state === "stopped") this.#open("connecting");
  }

  /** @param {string} reason @param {number} [code] */
  stop(reason, code) {
    clearTimeout(this.#timer);
    this.#transport?.close();
    this.#transport = null;
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
  #open(state) {
    this.#show({ state });
    this.#transport = openWebSocket(this.#url, {
      opened: (hello) => {
        this.#refusedLogin = false;
        this.#openedAt = Date.now();
        this.#show({ state: "connected", everOpen: true });
        this.emit("opened", hello);
      },
      heard: (vector) => this.emit("heard", vector),
      ended: (end) => this.#ended(end),
    });
  }

  /** @param {import("./websocket.js").End} end */
  #ended({ code, reason, retryAfter }) {
    this.#transport = null;
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
    this.#open(navigator.onLine ? "reconnecting" : "offline");
  }

  /** The network is back, or somebody looks: do not sit out a wait of our own. */
  #hurry() {
    if (this.state.retryAt !== undefined && !this.#told) this.#retry();
  }

  /** The browser says that the network is gone: do not wait for the silence to tell. */
  #lose() {
    if (!this.#transport) return;
    this.#transport.close();
    this.#ended({ code: 1006, reason: "offline" });
  }

  /** @param {Omit<State, "everOpen"> & { everOpen?: boolean }} state */
  #show(state) {
    this.state = { everOpen: this.state.everOpen, ...state };
    this.emit("state", this.state);
  }
}
