// What a stream and polls have in common. They listen with one request and speak with others; to everybody else this is
// one connection, with the interface of websocket.js.

import { Places } from "./places.js";
import { Post } from "./post.js";
import { MAX_FRAME_BYTES } from "./protocol.js";
import { Silence } from "./silence.js";

/** @typedef {import("./websocket.js").End} End */
/**
 * @typedef {object} Listening
 * @property {URL} base the folder of the endpoints
 * @property {Places} places
 * @property {string} connection from `live.hello`; empty before it
 * @property {AbortSignal} signal aborted when nobody listens any more
 * @property {() => void} alive the server did something
 * @property {(frame: any[]) => void} handle
 *
 * @typedef {(listening: Listening) => Promise<End | void>} Listen one request; gives why the connection ends, if it does
 */

const HELLO_LIMIT = 10_000; // ms from the start to live.hello

/**
 * @param {URL} base
 * @param {() => string} csrfToken as it is now; it changes with the log-in
 * @param {import("./websocket.js").Ears} ears
 * @param {number} quiet ms of silence after which the server is dead
 * @param {Listen} listen
 * @returns {import("./websocket.js").Transport}
 */
export function overHttp(base, csrfToken, { opened, heard, ended }, quiet, listen) {
  const token = csrfToken();
  const places = new Places();
  const post = new Post(commands, token, (vectors) => over || heard(vectors), finish);
  const silence = new Silence(HELLO_LIMIT, () => finish({ code: 1006, reason: "the server is silent" }));
  let maxFrameBytes = MAX_FRAME_BYTES;
  let connection = "";
  /** @type {string | null | undefined} */
  let user; // undefined before live.hello
  let listener = new AbortController();
  let changed = false;
  let over = false;

  /** Where commands go: they say of which connection they are. */
  function commands() {
    return new URL(connection ? `commands?${new URLSearchParams({ connection })}` : "commands", base);
  }

  /** @param {End} end */
  function finish(end) {
    if (over) return;
    close();
    // a refusal that comes of another log-in in this browser: the next connection's hello says whose it is
    ended(end.code === 4503 && csrfToken() !== token ? { code: 1006, reason: end.reason } : end);
  }

  function close() {
    over = true;
    silence.stop();
    listener.abort(); // what was posted may still happen: its page may be going away
  }

  /** Listen to the rooms as they are now, until they change. */
  async function start() {
    listener.abort();
    changed = false;
    const { signal } = (listener = new AbortController());
    const handle = (/** @type {any[]} */ frame) => receive(frame, signal);
    const alive = () => signal.aborted || silence.broken();
    try {
      while (!signal.aborted) {
        if (csrfToken() !== token) return finish({ code: 1006, reason: "another log-in" });
        const end = await listen({ base, places, connection, signal, alive, handle });
        if (end && !signal.aborted) finish(end);
      }
    } catch (error) {
      if (!signal.aborted) finish({ code: 1006, reason: String(error) });
    }
  }

  /** The rooms changed. Several that do so together are one new request. */
  function restart() {
    if (!changed) queueMicrotask(() => over || start());
    changed = true;
  }

  /** @param {import("./protocol.js").Vector[]} frame @param {AbortSignal} signal of the request that it answers */
  function receive(frame, signal) {
    const vectors = [];
    for (const vector of frame) {
      if (signal.aborted) return; // the rest comes again, to a request that asks for the rooms as they are now
      const translated = places.translate(vector);
      const [name, data] = translated;
      if (name === "live.hello" && greet(data)) vectors.push(translated);
      else if (name === "live.hello") continue;
      else if (name === "live.bye") finish({ code: data.code, reason: data.reason, retryAfter: data.retry_after_ms });
      else vectors.push(translated);
    }
    if (vectors.length) heard(vectors);
  }

  /** @param {import("./websocket.js").Hello & { connection: string }} hello @returns {boolean} whether it is not the first */
  function greet(hello) {
    const is = hello.user?.id ?? null;
    const first = user === undefined;
    if (!first && user !== is) return finish({ code: 1006, reason: "another log-in" }), false;
    connection = hello.connection;
    maxFrameBytes = hello.max_frame_bytes;
    user = is;
    silence.broken(quiet);
    if (first) opened(hello);
    return !first;
  }

  /** @param {import("./protocol.js").Vector} vector */
  function send(vector) {
    const [name, , meta = {}] = vector;
    if (over) return;
    if (name === "live.join") {
      places.join(vector);
      restart();
    } else if (name === "live.leave") {
      places.leave(meta.room ?? "");
      restart();
      queueMicrotask(() => heard([["live.ok", {}, { re: meta.id }]]));
    } else {
      post.send(vector, maxFrameBytes);
    }
  }

  queueMicrotask(() => over || start());
  return { send, close };
}
