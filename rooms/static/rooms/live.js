// What a page has of its rooms: one connection, however many rooms and tabs, and commands that happen once.
//
//     import { connect } from ".../rooms/live.js";
//     const live = connect({ user, session });
//     const room = live.room("acme/general", { cursor });
//     room.on("chat.message", (data, { seq, by, at }) => …);
//     await room.send("chat.send", { text });
//     live.on("state", ({ state, transport, reason, retryAt, everOpen }) => …);

import { UNAUTHENTICATED } from "./connection.js";
import { Debug } from "./debug.js";
import { Line } from "./line.js";
import { Outbox } from "./outbox.js";
import { Emitter, LiveError, newId } from "./protocol.js";
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
 * @property {string} [session] names the log-in (the tag `live_session`); the tabs of one user and session share a
 *   connection, and without it the page has one of its own
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
  /** By their ids as readers. @type {Map<string, LiveRoom>} */
  #rooms = new Map();
  #outbox;
  #line;
  #user;
  debug = new Debug((faults) => this.#line.break(faults));

  /** @param {Options} options */
  constructor({ url = "/live/", need = "duplex", user, session }) {
    super();
    const person = user && session ? `${user}:${session}` : null;
    this.#user = user;
    this.#outbox = new Outbox(person ?? user);
    this.#outbox.restore((error, vector) => this.emit("unsent", error, ...vector));
    this.#line = new Line(new URL(url, location.href), need, person);
    this.#line.on("opened", (hello) => this.#opened(hello));
    this.#line.on("heard", (vector, readers) => this.#heard(vector, readers));
    this.#line.on("state", (state) => {
      this.debug.note("state", state);
      this.emit("state", state);
      if (state.state !== "connected") this.#outbox.unsaid();
      if (state.state === "stopped") this.#giveUp(state.reason);
    });
  }

  get state() {
    return this.#line.state;
  }

  /** Connect, if it is not so already. */
  start() {
    this.#line.start();
  }

  /** End the connection. Commands without an answer are rejected; sent again with their ids they happen once. */
  stop(reason = "") {
    this.#line.stop(reason);
  }

  /**
   * Follow a room.
   *
   * @param {string} name `<tenant>/<room>`
   * @param {import("./room.js").RoomOptions} [options]
   */
  room(name, options = {}) {
    const id = newId();
    const room = new LiveRoom(name, options, {
      join: (...question) => this.#line.join(id, name, ...question),
      leave: () => this.#rooms.delete(id) && this.#line.leave(id, name),
      stand: (...words) => this.#line.stand(id, name, ...words),
      perform: (...command) => this.#perform(...command),
    });
    this.#rooms.set(id, room);
    room.join();
    return room;
  }

  /** @type {import("./room.js").Ways["perform"]} */
  #perform(name, data, meta) {
    this.start();
    const { command, answer } = this.#outbox.add([name, data, meta]);
    this.#say(command);
    return answer;
  }

  /** @param {Command} command */
  #say(command) {
    if (this.state.state !== "connected") return; // it waits in the outbox
    try {
      this.#line.send(command.vector);
      this.debug.vector("said", command.vector);
      this.#outbox.said(command);
    } catch (error) {
      this.#outbox.take(command.vector[2]?.id);
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
      this.#line.stop("somebody else is logged in", UNAUTHENTICATED);
      return;
    }
    for (const room of this.#rooms.values()) room.reopened();
    for (const command of this.#outbox.all()) this.#say(command);
  }

  /** @param {Vector} vector @param {string[]} [readers] the rooms that it is for; else it answers a command */
  #heard(vector, readers) {
    this.debug.vector("heard", vector);
    if (readers) return readers.forEach((id) => this.#rooms.get(id)?.hear(vector));
    const [name, data, meta = {}] = vector;
    if (name === "live.error" && this.#again(meta.re ?? "", data)) return;
    const command = this.#outbox.take(meta.re);
    if (name === "live.ok") command?.resolve(data);
    else if (name === "live.error" && command) command.reject(new LiveError(data));
    else if (name === "live.error") console.warn(`live: ${data.code}: ${data.detail}`);
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
