// The WebSocket transport. Everything that is true of WebSockets alone is here: the heartbeat, a server that went
// silent, acknowledgements. Every transport has this one interface, and nothing else asks which one it is.

import { Acknowledger } from "./acknowledge.js";
import { MAX_FRAME_BYTES, SUBPROTOCOL, encode } from "./protocol.js";
import { Silence } from "./silence.js";

/** @typedef {import("./protocol.js").Vector} Vector */
/**
 * @typedef {object} Hello `live.hello`
 * @property {{ id: string, name: string } | null} user
 * @property {number} heartbeat_s
 * @property {number | null} window
 * @property {number} max_frame_bytes
 *
 * @typedef {{ code: number, reason: string, retryAfter?: number }} End why a transport ended; ms
 *
 * @typedef {object} Ears
 * @property {(hello: Hello) => void} opened the server has spoken, for the first time
 * @property {(vectors: Vector[], handled?: (hidden: boolean) => void) => void} heard the vectors of a frame, in order; and
 *   what to call when they have been handled and painted, if the server awaits that
 * @property {(end: End) => void} ended once, and nothing after it
 *
 * @typedef {object} Transport
 * @property {(vector: Vector) => void} send throws a LiveError when the vector cannot be sent at all
 * @property {() => void} close without a further word
 */

const HELLO_LIMIT = 10_000; // ms from the start to live.hello
const SILENCE_GRACE = 10_000; // ms above the heartbeat; then the server is dead
const ANSWER_LIMIT = 15_000; // ms of silence for who waits for an answer: less than what a command has, which is 30 s

/**
 * @param {URL} url with flow=ack; http for ws and https for wss do as well
 * @param {Ears} ears
 * @returns {Transport}
 */
export function openWebSocket(url, { opened, heard, ended }) {
  const address = new URL(url);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address, SUBPROTOCOL);
  let maxFrameBytes = MAX_FRAME_BYTES;
  const silence = new Silence(HELLO_LIMIT, () => finish({ code: 1006, reason: "the server is silent" }));
  /** @type {Acknowledger | null} */
  let acknowledger = null;
  /** @type {End | null} */
  let bye = null;
  let over = false;

  /** @param {End} end */
  function finish(end) {
    if (over) return;
    over = true;
    close();
    ended(bye ?? end);
  }

  function close() {
    over = true;
    silence.stop();
    acknowledger?.stop();
    socket.onmessage = socket.onclose = null; // closing a dead connection may take the browser a minute
    socket.close();
  }

  /** @param {Vector[]} frame */
  function handle(frame) {
    const vectors = [];
    for (const vector of frame) {
      const [name, data] = vector;
      if (name === "live.hello") greet(data);
      else if (name === "live.bye") bye = { code: data.code, reason: data.reason, retryAfter: data.retry_after_ms };
      else vectors.push(vector);
    }
    if (over || !vectors.length) return;
    const counted = vectors.some(([name, , meta]) => meta?.room !== undefined && !name.startsWith("live."));
    if (counted) acknowledger?.received();
    heard(vectors, counted && acknowledger ? (hidden) => acknowledger?.handled(hidden) : undefined);
  }

  /** @param {Hello} hello */
  function greet(hello) {
    silence.broken(hello.heartbeat_s * 1_000 + SILENCE_GRACE);
    maxFrameBytes = hello.max_frame_bytes;
    if (hello.window) acknowledger = new Acknowledger(hello.window, (frames) => send(["live.ack", { frames }]));
    opened(hello);
  }

  /** @param {Vector} vector */
  function send(vector) {
    const frame = encode(vector, maxFrameBytes);
    if (over || socket.readyState !== WebSocket.OPEN) return;
    socket.send(frame);
    if (vector[2]?.id) silence.asked(ANSWER_LIMIT);
  }

  socket.onmessage = ({ data }) => {
    silence.broken();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return finish({ code: 1002, reason: "the server does not speak this protocol" });
    }
    if (frame.length === 0) socket.send("[]");
    else handle(frame);
  };
  socket.onclose = ({ code, reason }) => finish({ code, reason });

  return { send, close };
}
