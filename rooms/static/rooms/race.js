// Several transports, of which the first that brings live.hello is the connection. That something opens says nothing: a
// proxy may let a WebSocket through and keep its frames, or collect a stream.

import { TIMES } from "./times.js";

/**
 * @typedef {import("./websocket.js").End} End
 * @typedef {import("./websocket.js").Transport} Transport
 * @typedef {import("./transports.js").Name} Name
 */

/**
 * A transport that is made of the first of these which works. The next one begins beside those that are silent after
 * `TIMES.patience`; and at once after one that ended, when `hasty`.
 *
 * @param {Name[]} names
 * @param {(name: Name, ears: import("./websocket.js").Ears) => Transport} open
 * @param {object} ears
 * @param {(name: Name, hello: import("./websocket.js").Hello) => void} ears.opened
 * @param {import("./websocket.js").Ears["heard"]} ears.heard
 * @param {(end: End) => void} ears.ended
 * @param {boolean} hasty
 * @returns {Transport}
 */
export function race(names, open, { opened, heard, ended }, hasty) {
  const waiting = [...names];
  /** @type {Map<Name, Transport>} */
  const running = new Map();
  /** @type {Name | null} */
  let winner = null;
  let over = false;
  /** @type {number | undefined} */
  let timer;

  function next() {
    clearTimeout(timer);
    const name = waiting.shift();
    if (!name) return;
    if (waiting.length) timer = setTimeout(next, TIMES.patience);
    running.set(
      name,
      open(name, {
        opened: (hello) => {
          winner = name;
          clearTimeout(timer);
          shut(name);
          opened(name, hello);
        },
        heard,
        ended: (end) => lost(name, end),
      }),
    );
  }

  /** @param {Name} name @param {End} end */
  function lost(name, end) {
    running.delete(name);
    const spoken = end.code >= 4000 || end.retryAfter !== undefined; // it was the site that refused, not the way to it
    if (winner || spoken) finish(end);
    else if (hasty && waiting.length) next();
    else if (!running.size) finish(end);
  }

  /** @param {End} end */
  function finish(end) {
    if (over) return;
    close();
    ended(end);
  }

  /** @param {Name} [but] */
  function shut(but) {
    for (const [name, transport] of running) {
      if (name === but) continue;
      running.delete(name);
      transport.close();
    }
  }

  function close() {
    over = true;
    clearTimeout(timer);
    shut();
  }

  next();
  return { send: (vector) => winner && running.get(winner)?.send(vector), close };
}
