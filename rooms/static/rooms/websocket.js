// The WebSocket transport. Everything that is true of WebSockets alone is here: the heartbeat, a server that went
// silent, acknowledgements. Every transport has this one interface, and nothing else asks which one it is.

import { Acknowledger } from "./acknowledge.js";
import { MAX_FRAME_BYTES, SUBPROTOCOL, encode } from "./protocol.js";

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
 * @property {(hello: Hello) => void} opened the server has spoken
 * @property {(vector: Vector) => void} heard in order
 * @property {(end: End) => void} ended once, and nothing after it
 *
 * @typedef {object} Transport
 * @property {(vector: Vector) => void} send throws a LiveError when the vector cannot be sent at all
 * @property {() => void} close without a further word
 */

const HELLO_LIMIT = 10_000; // ms from the start to live.hello
const SILENCE_GRACE = 10_000; // ms above the heartbeat; then the server is dead
const LATE = 2_000; // a timer that fires this late says that the page slept, not that the server is silent

/**
 * @param {URL} url with flow=ack
 * @param {Ears} ears
 * @returns {Transport}
 */
export function openWebSocket(url, { opened, heard, ended }) {
  const socket = new WebSocket(url, SUBPROTOCOL);
  let maxFrameBytes = MAX_FRAME_BYTES;
  let silence = HELLO_LIMIT; // that is too long, in ms
  let lastFrame = Date.now();
  let watch = setTimeout(look, silence);
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
    clearTimeout(watch);
    acknowledger?.stop();
    socket.onmessage = socket.onclose = null; // closing a dead connection may take the browser a minute
    socket.close();
  }

  function look() {
    const due = lastFrame + silence;
    const late = Date.now() - due;
    if (late >= 0 && late < LATE) return finish({ code: 1006, reason: "the server is silent" });
    if (late >= LATE) lastFrame = Date.now() + 1_000 - silence; // let what waits in the socket speak first
    watch = setTimeout(look, Math.max(0, lastFrame + silence - Date.now()));
  }

  /** @param {any[]} frame */
  function handle(frame) {
    let counted = false;
    for (const vector of /** @type {Vector[]} */ (frame)) {
      const [name, data, meta] = vector;
      if (over) return;
      if (name === "live.hello") greet(data);
      else if (name === "live.bye") bye = { code: data.code, reason: data.reason, retryAfter: data.retry_after_ms };
      else heard(vector);
      counted ||= meta?.room !== undefined && !name.startsWith("live.");
    }
    if (counted && !over) acknowledger?.frame();
  }

  /** @param {Hello} hello */
  function greet(hello) {
    silence = hello.heartbeat_s * 1_000 + SILENCE_GRACE;
    maxFrameBytes = hello.max_frame_bytes;
    if (hello.window) acknowledger = new Acknowledger(hello.window, (frames) => send(["live.ack", { frames }]));
    opened(hello);
  }

  /** @param {Vector} vector */
  function send(vector) {
    const frame = encode(vector, maxFrameBytes);
    if (!over && socket.readyState === WebSocket.OPEN) socket.send(frame);
  }

  socket.onmessage = ({ data }) => {
    lastFrame = Date.now();
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
