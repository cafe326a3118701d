// Where the connection of a tab is held, and how the tab speaks with its switchboard: in a worker that all tabs of one
// person share; where a browser has none, in one of the tabs, which the others reach over a channel; else in the tab.

import { amongTabs } from "./among-tabs.js";
import { board } from "./board.js";
import { csrfToken } from "./http.js";
import { inWorker, works } from "./in-worker.js";

/** @typedef {import("./switchboard.js").Message} Message */
/**
 * @typedef {object} Host
 * @property {(messages: Message[]) => void} post to the switchboard
 * @property {() => void} close the tab is plugged out
 */
/**
 * @callback OpenHost
 * @param {import("./board.js").Setup} setup
 * @param {(message: Message) => void} hear what the switchboard says
 * @param {() => void} lost called once, when whoever held the connection is gone: another host is to be opened
 * @returns {Host}
 */

/** @type {OpenHost} */
export function openHost(setup, hear, lost) {
  const shares = setup.key !== null && "locks" in navigator && "BroadcastChannel" in globalThis;
  return (!shares ? inPage : works ? inWorker : amongTabs)(setup, hear, lost);
}

/** @type {OpenHost} */
function inPage(setup, hear) {
  const { receive, unplug } = board(setup, csrfToken).plug(hear);
  return { post: receive, close: unplug };
}
