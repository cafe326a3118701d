// For developers, at the console: `live.debug.network({ latency: 400, cut: 10_000 })`, `live.debug.table()`.

const KEPT = 500; // entries

/** @typedef {{ at: number, what: string, detail: any }} Entry at: `Date.now()` */

export class Debug {
  /** What happened on this page's end, oldest first. Names and numbers; never what was said. @type {Entry[]} */
  log = [];
  #set;

  /** @param {(faults: import("./bad-network.js").Faults) => void} set */
  constructor(set) {
    this.#set = set;
  }

  /**
   * Make the network bad, for all tabs on this connection, until told otherwise; without faults it is as it is.
   *
   * @param {import("./bad-network.js").Faults} [faults]
   */
  network(faults = {}) {
    this.note("network", faults);
    this.#set(faults);
  }

  /** Show the log in the console. */
  table() {
    console.table(this.log.map(({ at, ...entry }) => ({ at: new Date(at).toISOString().slice(11, 23), ...entry })));
  }

  /** @param {string} what @param {any} detail */
  note(what, detail) {
    if (this.log.push({ at: Date.now(), what, detail }) > KEPT) this.log.splice(0, KEPT / 10);
  }

  /** @param {string} what @param {import("./protocol.js").Vector} vector */
  vector(what, [name, data, { room, seq, id, re } = {}]) {
    const code = name.startsWith("live.") ? (data?.code ?? data?.verdict) : undefined;
    this.note(what, { name, room, seq, id, re, code });
  }
}
