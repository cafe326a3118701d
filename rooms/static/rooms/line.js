// This tab's end of the connection: it knows the page, and tells the switchboard what happens to it.

import { openHost } from "./hosts.js";
import { csrfToken } from "./http.js";
import { Painting } from "./painting.js";
import { Emitter, backoff, encode } from "./protocol.js";
import { ORDER, order, remember } from "./transports.js";

/** @typedef {import("./connection.js").State} State */
/** @typedef {import("./protocol.js").Vector} Vector */
/** @typedef {import("./switchboard.js").Message} Message */

const FORBIDDEN = 4503;

/** Emits `state`, `opened` with `live.hello`'s data, and `heard` with each vector and the readers that it is for. */
export class Line extends Emitter {
  /** @type {State} */
  state = { state: "stopped", everOpen: false };
  /** @type {import("./hosts.js").Host | null} */
  #host = null;
  /** Of what came from this host: another one counts from the beginning. @type {Painting | null} */
  #painting = null;
  #token = csrfToken();
  /** @type {Message[]} */
  #mail = [];
  #maxFrameBytes = 0;
  #losses = 0;
  #turn = 0;
  #resting = false;
  /** @type {object | null} */
  #life = null;
  #url;
  #need;
  #key;

  /**
   * @param {URL} url the folder of the endpoints
   * @param {import("./transports.js").Need} need
   * @param {string | null} sharedBy who may share the connection: a person in a session; null for this page alone
   */
  constructor(url, need, sharedBy) {
    super();
    this.#url = url;
    this.#need = need;
    this.#key = sharedBy && JSON.stringify([2, sharedBy, url.href, need]); // 2: of the messages between the two
    addEventListener("online", () => this.#post(["hurry"]));
    addEventListener("offline", () => this.#post(["lost", "offline"]));
    document.addEventListener("visibilitychange", () => this.#look());
    // A page that is kept to come back to must hold nothing, and finds it gone in any case.
    addEventListener("pagehide", () => this.#rest());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#wake());
  }

  /** Connect, if it is not so already, and soon. */
  start() {
    if (!this.#host && !this.#resting) this.#open();
    else if (this.state.state === "stopped") this.#post(["start"]);
    else if (this.state.state !== "connected") this.#post(["hurry"]);
  }

  /** This tab needs the connection no more. @param {string} reason @param {number} [code] */
  stop(reason, code) {
    this.#close();
    this.#show({ state: "stopped", reason, code, everOpen: this.state.everOpen });
  }

  /**
   * @param {string} reader
   * @param {string} room
   * @param {string} id of the question
   * @param {string} [cursor]
   * @param {boolean} [present]
   */
  join(reader, room, id, cursor, present) {
    this.#post(["join", this.#turn, reader, room, id, cursor, present]);
  }

  /** Make the network bad, for developers. @param {import("./bad-network.js").Faults} faults */
  break(faults) {
    this.#post(["faults", faults]);
  }

  /** @param {string} reader @param {string} room @param {string} name @param {import("./standing.js").Word} word */
  stand(reader, room, name, word) {
    this.#post(["stand", reader, room, name, word]);
  }

  /** @param {string} reader @param {string} room */
  leave(reader, room) {
    this.#post(["leave", this.#turn, reader, room]);
  }

  /**
   * Say this on the connection as it is; what is lost with it is to be said again when the next one is `opened`.
   *
   * @param {Vector} vector
   * @throws {import("./protocol.js").LiveError} when it cannot be said at all
   */
  send(vector) {
    encode(vector, this.#maxFrameBytes);
    this.#post(["say", this.#turn, vector]);
  }

  #open() {
    const [first] = ORDER[this.#need];
    const setup = { key: this.#key, url: this.#url.href, first, order: order(this.#need) };
    const life = {}; // of this host: what an earlier one still says is nothing to us
    this.#life = life;
    const ours = () => this.#life === life;
    this.#painting = new Painting((frames) => this.#post(["painted", frames]));
    this.#host = openHost(
      setup,
      (message) => ours() && this.#hear(message),
      () => ours() && this.#again(),
    );
    this.#look();
  }

  #close() {
    this.#send();
    this.#painting?.stop();
    this.#life = null;
    this.#host?.close();
    this.#host = null;
  }

  /** Whoever held the connection is gone. */
  #again() {
    this.#close();
    this.#show({ state: "reconnecting", everOpen: this.state.everOpen });
    setTimeout(() => this.#host || this.#resting || this.#open(), this.#losses++ && backoff(this.#losses));
  }

  #rest() {
    this.#resting = true;
    if (!this.#host) return;
    this.#close();
    this.#show({ state: "reconnecting", reason: "the page rests", everOpen: this.state.everOpen });
  }

  #wake() {
    this.#resting = false;
    if (this.state.state !== "stopped") this.#open();
  }

  #look() {
    this.#tellToken();
    this.#post(["watched", !document.hidden]);
  }

  /** Whether it is another one than the switchboard knows: after another log-in in this browser. */
  #tellToken() {
    const before = this.#token;
    this.#token = csrfToken();
    if (this.#token !== before) this.#post(["token", this.#token]);
    return this.#token !== before;
  }

  /** What is said together goes together: a lost request then loses all of it or nothing. @param {Message} message */
  #post(message) {
    if (!this.#host) return;
    if (!this.#mail.length) queueMicrotask(() => this.#send());
    this.#mail.push(message);
  }

  #send() {
    const mail = this.#mail;
    this.#mail = [];
    if (mail.length) this.#host?.post(mail);
  }

  /** @param {Message} message */
  #hear([kind, ...args]) {
    if (kind === "state") this.#stateIs(args[0]);
    else if (kind === "opened") {
      this.#losses = 0;
      this.#turn = args[1];
      this.#maxFrameBytes = args[0].max_frame_bytes;
      this.emit("opened", args[0]);
    } else {
      const [heard, counted] = args;
      for (const [vector, readers] of heard) this.emit("heard", vector, readers);
      if (counted) this.#painting?.frame();
    }
  }

  /** @param {State} state */
  #stateIs(state) {
    if (state.transport) remember(this.#need, state.transport);
    // refused for a token that is not ours any more: the next hello says whose connection it would be
    if (state.code === FORBIDDEN && this.#tellToken()) return this.#post(["start"]);
    this.#show(state);
  }

  /** @param {State} state */
  #show(state) {
    if (JSON.stringify(state) === JSON.stringify(this.state)) return;
    this.state = state;
    this.emit("state", state);
  }
}
