// What a page has of its rooms: one connection, however many rooms, and commands that happen once.
//
//     import { connect } from ".../rooms/live.js";
//     const live = connect();
//     const room = live.room("acme/general", { cursor });
//     room.on("chat.message", (data, { seq, by, at }) => …);
//     await room.send("chat.send", { text });
//     live.on("state", ({ state, reason, retryAt, everOpen }) => …);

import { Connection, UNAUTHENTICATED } from "./connection.js";
import { Emitter, LiveError } from "./protocol.js";
import { LiveRoom } from "./room.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/** @typedef {{ vector: Vector, resolve: (answer: any) => void, reject: (error: LiveError) => void }} Pending */

/**
 * @param {object} [options]
 * @param {string | URL} [options.url]
 * @param {string | null} [options.user] id of the person whose page this is, null for nobody; a connection that turns
 *   out to be somebody else's, after another log-in in this browser, is not used
 */
export function connect(options = {}) {
  const live = new Live(options);
  live.start();
  return live;
}

/** Emits `state` with a State of connection.js. */
export class Live extends Emitter {
  /** @type {Map<string, LiveRoom>} */
  #rooms = new Map();
  /** @type {Map<string, Pending>} */
  #pending = new Map(); // commands without an answer, by id, in order
  #connection;
  #user;

  /** @param {{ url?: string | URL, user?: string | null }} options */
  constructor({ url = "/live/ws?flow=ack", user }) {
    super();
    this.#user = user;
    this.#connection = new Connection(url);
    this.#connection.on("opened", (hello) => this.#opened(hello));
    this.#connection.on("heard", (vector) => this.#heard(vector));
    this.#connection.on("state", (state) => {
      this.emit("state", state);
      if (state.state === "stopped") this.#giveUp(state.reason);
    });
  }

  get state() {
    return this.#connection.state;
  }

  /** Connect, if it is not so already. */
  start() {
    this.#connection.start();
  }

  /** End the connection. Commands without an answer are rejected; sent again with their ids they happen once. */
  stop(reason = "") {
    this.#connection.stop(reason);
  }

  /**
   * Follow a room.
   *
   * @param {string} name `<tenant>/<room>`
   * @param {import("./room.js").RoomOptions} [options]
   */
  room(name, options = {}) {
    const room = new LiveRoom(
      name,
      options,
      (vector) => this.#connection.send(vector),
      (...command) => this.#perform(...command),
    );
    this.#rooms.set(name, room);
    room.join();
    return room;
  }

  /** @type {import("./room.js").Perform} */
  #perform(name, data, meta) {
    this.start();
    return new Promise((resolve, reject) => {
      /** @type {Pending} */
      const pending = { vector: [name, data, meta], resolve, reject };
      this.#pending.set(meta.id, pending);
      this.#say(pending);
    });
  }

  /** @param {Pending} pending */
  #say({ vector, reject }) {
    try {
      this.#connection.send(vector);
    } catch (error) {
      this.#pending.delete(vector[2]?.id ?? "");
      reject(/** @type {LiveError} */ (error));
    }
  }

  /** @param {string} reason */
  #giveUp(reason) {
    for (const { reject } of this.#pending.values()) reject(new LiveError({ code: "stopped", detail: reason }));
    this.#pending.clear();
  }

  /** @param {import("./websocket.js").Hello} hello */
  #opened({ user }) {
    if (this.#user !== undefined && this.#user !== (user?.id ?? null)) {
      this.#connection.stop("somebody else is logged in", UNAUTHENTICATED);
      return;
    }
    for (const room of this.#rooms.values()) room.join();
    for (const pending of [...this.#pending.values()]) this.#say(pending);
  }

  /** @param {Vector} vector */
  #heard(vector) {
    const [name, data, meta = {}] = vector;
    if (meta.room !== undefined) {
      this.#rooms.get(meta.room)?.receive(vector);
    } else if (![...this.#rooms.values()].some((room) => room.answered(vector))) {
      const pending = this.#pending.get(meta.re ?? "");
      this.#pending.delete(meta.re ?? "");
      if (name === "live.ok") pending?.resolve(data);
      else if (name === "live.error" && pending) pending.reject(new LiveError(data));
      else if (name === "live.error") console.warn(`live: ${data.code}: ${data.detail}`);
    }
  }
}
