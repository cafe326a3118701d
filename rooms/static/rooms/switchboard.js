// Several tabs on one connection. It runs where the connection is held (hosts.js) and is alike for one tab and for ten.
// Tabs and switchboard speak in plain messages, `[kind, ...]`, for between them may be a worker's port or a channel.
//
//   a tab says                            and hears
//   join turn, reader, room, id,          state    the connection's
//     cursor?, present
//   leave turn, reader, room              opened   live.hello's data, and the turn: which connection it is
//   stand reader, room, name, word        (standing.js); it outlasts the connection
//   say turn, vector                      heard    [vector, readers?][], counted: vectors of one frame, for these readers;
//   painted n  of the counted it heard             without them it is the answer to a command
//   watched yes  whether somebody looks
//   token, start, hurry, lost reason, faults
//
// What a tab says on a connection that is gone meanwhile is not heard: it says it again when it hears `opened`.

import { Pace } from "./pace.js";
import { Standing } from "./standing.js";
import { Subscription } from "./subscription.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/** @typedef {[kind: string, ...any[]]} Message */
/** @typedef {[vector: Vector, readers?: string[]]} Heard */
/**
 * @typedef {object} Port a tab that is plugged in
 * @property {(message: Message) => void} post
 * @property {boolean} watched
 * @property {number} sent counted frames
 * @property {number} painted of them
 * @property {boolean} behind it is sent no events: its readers stay where they are in their rooms
 */

export class Switchboard {
  /** @type {Set<Port>} */
  #ports = new Set();
  /** @type {Map<string, Subscription>} */
  #rooms = new Map();
  /** Who asked: two tabs may say the same, when one is a copy of the other. @type {Map<string, Set<Port>>} */
  #asked = new Map();
  #pace = new Pace(() => this.#isWatched);
  #standing = new Standing((vector) => this.#connection.send(vector));
  /** What a frame brings, until all of it is sorted. @type {Map<Port, Heard[]> | null} */
  #frame = null;
  /** @type {any} */
  #hello = null;
  #turn = 0;
  #connection;
  #told;
  #faults;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {object} heeds what else tabs say
   * @param {(token: string) => void} heeds.told the CSRF token as it is now
   * @param {(faults: import("./bad-network.js").Faults) => void} heeds.faults for developers
   */
  constructor(connection, { told, faults }) {
    this.#connection = connection;
    this.#told = told;
    this.#faults = faults;
    connection.on("opened", (hello) => this.#opened(hello));
    connection.on("heard", (vectors, handled) => this.#heard(vectors, handled));
    connection.on("state", (state) => {
      if (state.state !== "connected") this.#reset();
      for (const port of this.#ports) port.post(["state", state]);
    });
  }

  /**
   * @param {Port["post"]} post to the tab
   * @returns {{ receive: (messages: Message[]) => void, unplug: () => void }} what the tab says, and that it is gone
   */
  plug(post) {
    /** @type {Port} */
    const port = { post, watched: false, sent: 0, painted: 0, behind: false };
    this.#connection.start(); // first: that it had stopped is nothing to one that comes
    this.#ports.add(port);
    post(["state", this.#connection.state]);
    if (this.#hello) post(["opened", this.#hello, this.#turn]);
    return {
      receive: (messages) => messages.forEach((message) => this.#ports.has(port) && this.#receive(port, message)),
      unplug: () => this.#unplug(port),
    };
  }

  /** @param {Port} port @param {Message} message */
  #receive(port, [kind, ...args]) {
    if (["join", "leave", "say"].includes(kind)) {
      const [turn, ...rest] = args;
      if (!this.#hello || turn !== this.#turn) return;
      if (kind === "join") this.#join(port, ...(/** @type {[string, string, string, string?, boolean?]} */ (rest)));
      else if (kind === "leave") this.#part(port, ...(/** @type {[string, string]} */ (rest)));
      else this.#say(port, rest[0]);
    } else if (kind === "stand") this.#standing.put(port, ...(/** @type {[string, string, string, any]} */ (args)));
    else if (kind === "painted") this.#painted(port, args[0]);
    else if (kind === "watched") this.#watched(port, args[0]);
    else if (kind === "token") this.#told(args[0]);
    else if (kind === "faults") this.#faults(args[0]);
    else if (kind === "start") this.#connection.start();
    else if (kind === "hurry") this.#connection.hurry();
    else if (kind === "lost") this.#connection.lose(args[0]);
  }

  /** @param {Port} port */
  #unplug(port) {
    if (!this.#ports.delete(port)) return;
    for (const room of [...this.#rooms.keys()]) this.#leave(room, (subscription) => subscription.drop(port));
    for (const asking of this.#asked.values()) asking.delete(port);
    this.#standing.drop((_, word) => word.port === port);
    this.#pace.drop(port);
    this.#connection.watched = this.#isWatched;
    if (!this.#ports.size) this.#connection.stop("");
  }

  /**
   * @param {Port} port
   * @param {string} reader
   * @param {string} name
   * @param {string} id
   * @param {string} [cursor]
   * @param {boolean} [present]
   */
  #join(port, reader, name, id, cursor, present) {
    const say = (/** @type {Vector} */ vector) => this.#connection.send(vector);
    const room = this.#rooms.get(name) ?? new Subscription(name, say, (...told) => this.#tell(...told));
    this.#rooms.set(name, room);
    room.join(reader, port, id, cursor, present);
  }

  /** @param {Port} port @param {string} reader @param {string} name of the room */
  #part(port, reader, name) {
    this.#standing.drop((other, word) => other === reader && word.port === port);
    this.#leave(name, (room) => room.leave(reader));
  }

  /** @param {string} name @param {(room: Subscription) => void} how */
  #leave(name, how) {
    const room = this.#rooms.get(name);
    if (room) how(room);
    if (!room?.isEmpty) return;
    this.#rooms.delete(name);
    this.#standing.left(name);
  }

  /** @param {Port} port @param {Vector} vector a command */
  #say(port, vector) {
    const id = vector[2]?.id;
    if (id) this.#asked.set(id, (this.#asked.get(id) ?? new Set()).add(port));
    this.#connection.send(vector);
  }

  /** @param {any} hello */
  #opened(hello) {
    this.#reset();
    this.#hello = hello;
    this.#turn += 1;
    for (const port of this.#ports) port.post(["opened", hello, this.#turn]);
  }

  /** Nothing of an earlier connection holds any more: each tab joins and says again what it needs. */
  #reset() {
    this.#hello = null;
    this.#rooms.clear();
    this.#asked.clear();
    this.#standing.reset();
    this.#pace.reset();
  }

  /** @param {Vector[]} vectors of a frame @param {(hidden: boolean) => void} [handled] where the server awaits that */
  #heard(vectors, handled = () => {}) {
    /** @type {Map<Port, Heard[]>} */
    const frame = new Map();
    this.#frame = frame;
    for (const vector of vectors) this.#sort(vector);
    this.#frame = null;
    const going = [...frame.keys()].filter((port) => frame.get(port)?.some(([vector]) => isEvent(vector)));
    // before they are posted: a tab in this very place says at once what it has handled
    this.#pace.goes(going, handled);
    for (const [port, heard] of frame) port.post(["heard", heard, going.includes(port)]);
    this.#pace.settle();
  }

  /** @param {Vector} vector */
  #sort(vector) {
    const [name, data, meta = {}] = vector;
    if (name === "live.hello") return this.#standing.reset(); // a stream that was opened again is another connection
    if (name === "live.ok" && meta.re === undefined) return this.#standing.joined(data.room);
    if (name === "live.reset") this.#standing.joined(meta.room ?? "");
    if (meta.room !== undefined) return this.#leave(meta.room, (room) => room.heard(vector));
    if (this.#standing.answered(vector)) return;
    for (const [room, subscription] of this.#rooms) {
      if (subscription.answered(vector)) return name === "live.ok" && this.#standing.joined(room);
    }
    const asking = meta.re === undefined ? this.#ports : this.#asked.get(meta.re);
    this.#asked.delete(meta.re ?? "");
    for (const port of asking ?? []) this.#tell(port, vector);
  }

  /** @param {Port} port @param {Vector} vector @param {string} [reader] */
  #tell(port, vector, reader) {
    const heard = this.#frame?.get(port) ?? [];
    const last = heard.at(-1);
    if (reader && last?.[0] === vector) last[1]?.push(reader);
    else heard.push(reader ? [vector, [reader]] : [vector]);
    if (this.#frame) this.#frame.set(port, heard);
    else port.post(["heard", heard, false]);
  }

  /** @param {Port} port @param {number} frames */
  #painted(port, frames) {
    if (this.#pace.painted(port, frames)) for (const room of this.#rooms.values()) room.ask();
  }

  get #isWatched() {
    return [...this.#ports].some(({ watched }) => watched);
  }

  /** @param {Port} port @param {boolean} watched */
  #watched(port, watched) {
    port.watched = watched;
    this.#connection.watched = this.#isWatched;
    if (watched) this.#connection.hurry();
    port.post(["state", this.#connection.state]); // that somebody is here
  }
}

/** @param {Vector} vector */
function isEvent([name, , meta]) {
  return meta?.room !== undefined && !name.startsWith("live.");
}
