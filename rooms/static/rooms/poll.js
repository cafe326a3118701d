// Long-poll: each request says where this page stands, and that is all that anybody remembers.

import { endOf } from "./http.js";
import { overHttp } from "./over-http.js";

const WAIT = 20; // s that the server may wait for something to tell
const QUIET = (WAIT + 15) * 1_000; // ms

/**
 * @param {URL} base the folder of the endpoints
 * @param {() => string} csrfToken
 * @param {import("./websocket.js").Ears} ears
 * @returns {import("./websocket.js").Transport}
 */
export function openPoll(base, csrfToken, ears) {
  return overHttp(base, csrfToken, ears, QUIET, listen);
}

/** @type {import("./over-http.js").Listen} */
async function listen({ base, places, connection, signal, alive, handle }) {
  const query = places.query(true);
  query.set("wait", String(WAIT));
  if (connection) query.set("connection", connection);
  const response = await fetch(new URL(`poll?${query}`, base), { cache: "no-store", signal });
  if (!response.ok) return endOf(response);
  const { cursor, frame } = await response.json();
  alive();
  handle(frame);
  if (!signal.aborted) places.keep(places.moved(cursor));
}
