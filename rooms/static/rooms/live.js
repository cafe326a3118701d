// What a page has of its rooms: one connection, however many rooms, and commands that happen once.
//
//     import { connect } from ".../rooms/live.js";
//     const live = connect();
//     const room = live.room("acme/general", { cursor });
//     room.on("chat.message", (data, { seq, by, at }) => …);
//     await room.send("chat.send", { text });
//     live.on("state", ({ state, transport, reason, retryAt, everOpen }) => …);

import { Connection, UNAUTHENTICATED } from "./connection.js";
import { Outbox } from "./outbox.js";
import { Emitter, LiveError } from "./protocol.js";
import { LiveRoom } from "./room.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/** @typedef {import("./outbox.js").Command} Command */

/**
 * @typedef {object} Options
 * @property {string | URL} [url] the folder of the endpoints, with a slash at its end
 * @property {import("./transports.js").Need} [need] "duplex" begins with a WebSocket, "watch" with a stream,
 *   "occasional" with polls; each goes over to the others where it must
 * @property {string | null} [user] id of the person whose page this is, null for nobody; a connection that turns
 *   out to be somebody else's, after another log-in in this browser, is not used
 */

/** @param {Options} [options] */
export function connect(options = {}) {
  const live = new Live(options);
  live.start();
  return live;
}

/**
 * Emits `state` with a State of connection.js, and `unsent` with `(error, name, data, meta)` when a command that an
 * earlier page of this tab gave is refused: there is nobody else to hear it.
 */
export class Live extends Emitter {
  /** @type {Map<string, LiveRoom>} */
  #rooms = new Map();
  #outbox;
  #connection;
  #user;

  /** @param {Options} options */
  constructor({ url = "/live/", need = "duplex", user }) {
    super();
    this.#user = user;
    this.#outbox = new Outbox(user);
    this.#outbox.restore((error, vector) => this.emit("unsent", error, ...vector));
    this.#connection = new Connection(new URL(url, location.href), need);
    this.#connection.on("opened", (hello) => this.#opened(hello));
    this.#connection.on("heard", (vector) => this.#heard(vector));
    this.#connection.on("state", (state) => {
      this.emit("state", state);
      if (state.state !== "connected") this.#outbox.unsaid();
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
    const { command, answer } = this.#outbox.add([name, data, meta]);
    this.#say(command);
    return answer;
  }

  /** @param {Command} command */
  #say(command) {
    const [, , meta] = command.vector;
    try {
      this.#connection.send(command.vector);
      if (this.state.state === "connected") this.#outbox.said(command);
    } catch (error) {
      this.#outbox.take(meta?.id);
      command.reject(/** @type {LiveError} */ (error));
    }
  }

  /** @param {string} [reason] */
  #giveUp(reason = "") {
    for (const { vector, reject } of this.#outbox.all()) {
      this.#outbox.take(vector[2]?.id);
      reject(new LiveError({ code: "stopped", detail: reason }));
    }
  }

  /** @param {import("./websocket.js").Hello} hello */
  #opened({ user }) {
    if (this.#user !== undefined && this.#user !== (user?.id ?? null)) {
      this.#connection.stop("somebody else is logged in", UNAUTHENTICATED);
      return;
    }
    for (const room of this.#rooms.values()) room.join();
    for (const command of this.#outbox.all()) this.#say(command);
  }

  /** @param {Vector} vector */
  #heard(vector) {
    const [name, data, meta = {}] = vector;
    if (meta.room !== undefined) {
      this.#rooms.get(meta.room)?.receive(vector);
    } else if (![...this.#rooms.values()].some((room) => room.answered(vector))) {
      if (name === "live.error" && this.#again(meta.re ?? "", data)) return;
      const command = this.#outbox.take(meta.re);
      if (name === "live.ok") command?.resolve(data);
      else if (name === "live.error" && command) command.reject(new LiveError(data));
      else if (name === "live.error") console.warn(`live: ${data.code}: ${data.detail}`);
    }
  }

  /**
   * Whether a refused command is said again by itself: the server says when, and there is time for it.
   *
   * @param {string} id
   * @param {{ temporary?: boolean, retry_after_ms?: number }} refusal
   */
  #again(id, { temporary, retry_after_ms: wait }) {
    const command = this.#outbox.get(id);
    if (!command || !temporary || wait === undefined || !this.#outbox.mayWait(id, wait)) return false;
    setTimeout(() => this.#outbox.get(id) === command && this.#say(command), wait);
    return true;
  }
}
