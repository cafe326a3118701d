// A switchboard with its connection, made from what is alike for all who share it.

import { BadNetwork } from "./bad-network.js";
import { Connection } from "./connection.js";
import { Switchboard } from "./switchboard.js";
import { opener } from "./transports.js";

/**
 * @typedef {object} Setup
 * @property {string | null} key of the person, their session and the endpoints; null for a connection of this tab alone
 * @property {string} url of the endpoints' folder
 * @property {import("./transports.js").Name} first the transport that it prefers
 * @property {import("./transports.js").Name[]} order in which they are tried
 */

/**
 * @param {Setup} setup
 * @param {() => string} csrfToken
 * @param {(token: string) => void} [told] a tab knows a newer one
 */
export function board({ url, first, order }, csrfToken, told = () => {}) {
  const network = new BadNetwork();
  const connection = new Connection(network.around(opener(new URL(url), csrfToken)), first, order);
  return new Switchboard(connection, { told, faults: (faults) => network.set(faults) });
}
