// The worker that holds the connection of all tabs of one person.

import { board } from "./board.js";
import { hold, released } from "./locks.js";

/** @typedef {ReturnType<import("./switchboard.js").Switchboard["plug"]>} Plug */

const LAST_WORDS = 1_000; // ms: what a tab said before it went may come after the news that it is gone

const worker = /** @type {any} */ (globalThis); // a SharedWorkerGlobalScope, which a page's types do not know
const always = new AbortController().signal;
const alone = hold(`rooms.worker:${worker.name}`, always); // one that is ending may still be there
let token = "";
/** @type {import("./switchboard.js").Switchboard | undefined} */
let shared;

worker.onconnect = (/** @type {MessageEvent} */ { ports: [port] }) => {
  /** @type {Plug | undefined} */
  let plug;

  port.onmessage = async ({ data }) => {
    await alone;
    if (data.setup) {
      token = data.token;
      shared ??= board(data.setup, () => token, (told) => (token = told));
      plug = shared.plug((message) => port.postMessage(message));
      released(data.tab, always).then(() => setTimeout(() => plug?.unplug(), LAST_WORDS));
    } else if (data.bye) {
      plug?.unplug();
    } else {
      plug?.receive(data);
    }
  };
};
