// The one connection of a page, for all the rooms on it: it begins with the first and ends with the last.

import { connect } from "./live.js";

/** @type {Map<string | null, { live: import("./live.js").Live, holders: number }>} */
const connections = new Map(); // by user: a page is one person's, and a host may show another's after a log-in

/** The one that there is. @param {string | null} user id */
export function held(user) {
  return connections.get(user)?.live;
}

/** @param {string | null} user id @param {string} [session] the name of the log-in */
export function hold(user, session) {
  const shared = connections.get(user) ?? { live: connect({ user, session }), holders: 0 };
  connections.set(user, shared);
  shared.holders += 1;
  let held = true;

  /** @param {string} [reason] */
  function release(reason) {
    if (!held) return;
    held = false;
    shared.holders -= 1;
    if (shared.holders) return;
    connections.delete(user);
    shared.live.stop(reason);
  }
  return { live: shared.live, release };
}
