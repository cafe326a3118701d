// Which transports there are, and in which order they are tried.

import { openPoll } from "./poll.js";
import { openStream } from "./stream.js";
import { TIMES } from "./times.js";
import { openWebSocket } from "./websocket.js";

/** @typedef {"websocket" | "sse" | "poll"} Name */
/**
 * duplex: says as much as it hears; watch: hears, and says little; occasional: hears little.
 *
 * @typedef {"duplex" | "watch" | "occasional"} Need
 */

/** @type {Record<Need, Name[]>} */
export const ORDER = {
  duplex: ["websocket", "sse", "poll"],
  watch: ["sse", "websocket", "poll"],
  occasional: ["poll", "sse", "websocket"],
};

/**
 * @param {URL} base the folder of the endpoints
 * @param {() => string} csrfToken
 * @returns {(name: Name, ears: import("./websocket.js").Ears) => import("./websocket.js").Transport}
 */
export function opener(base, csrfToken) {
  return (name, ears) => {
    if (name === "websocket") return openWebSocket(new URL("ws?flow=ack", base), ears);
    return (name === "sse" ? openStream : openPoll)(base, csrfToken, ears);
  };
}

/**
 * The order for a need, but first what worked a short while ago.
 *
 * @param {Need} need
 */
export function order(need) {
  const { name, until } = recall(need);
  const first = until > Date.now() && ORDER[need].includes(name) ? [name] : [];
  return [...new Set([...first, ...ORDER[need]])];
}

/** This one works. @param {Need} need @param {Name} name */
export function remember(need, name) {
  try {
    if (name === ORDER[need][0]) localStorage.removeItem(key(need));
    else localStorage.setItem(key(need), JSON.stringify({ name, until: Date.now() + TIMES.remembered }));
  } catch {
    // no storage here: the next page finds out by itself
  }
}

/** @param {Need} need @returns {{ name: Name, until: number }} */
function recall(need) {
  try {
    return JSON.parse(localStorage.getItem(key(need)) ?? "null") ?? { until: 0 };
  } catch {
    return { name: ORDER[need][0], until: 0 };
  }
}

/** @param {Need} need */
function key(need) {
  return `rooms.transport:${need}`;
}
