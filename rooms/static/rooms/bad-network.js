// A bad network for developers, between the connection and its transports: what they bring comes late, some are blocked,
// all are cut now and then. Not for tests of the transports themselves, which it wraps.

/** @typedef {import("./transports.js").Name} Name */
/** @typedef {ReturnType<import("./transports.js").opener>} Open */
/**
 * @typedef {object} Faults
 * @property {number} [latency] ms that everything takes longer, each way
 * @property {number} [jitter] ms, at most, on top of it; the order stays
 * @property {number} [cut] ms, on average, until a transport breaks
 * @property {Name[]} [blocked] transports that cannot be opened
 * @property {boolean} [down] nothing can, and what is open breaks
 */

export class BadNetwork {
  /** @type {Faults} */
  #faults = {};
  /** @type {Set<{ name: Name, cut: (reason: string) => void, wear: () => void }>} */
  #open = new Set();

  /** From now on, for what is open too. @param {Faults} faults */
  set(faults) {
    this.#faults = { ...faults };
    for (const { name, cut, wear } of this.#open) this.#blocks(name) ? cut("blocked") : wear();
  }

  /** @param {Open} open @returns {Open} */
  around(open) {
    return (name, ears) => {
      if (this.#blocks(name)) return broken(ears);
      const inwards = this.#line();
      const outwards = this.#line();
      /** @type {number | undefined} */
      let worn;
      const transport = open(name, {
        opened: (hello) => inwards(() => alive() && ears.opened(hello)),
        heard: (...frame) => inwards(() => alive() && ears.heard(...frame)),
        ended: (end) => inwards(() => gone() && ears.ended(end)),
      });
      const entry = { name, wear, cut };
      const alive = () => this.#open.has(entry);
      const gone = () => (clearTimeout(worn), this.#open.delete(entry));
      const cuts = () => this.#faults.cut;
      this.#open.add(entry);
      wear();

      /** @param {string} reason */
      function cut(reason) {
        if (!gone()) return;
        transport.close();
        ears.ended({ code: 1006, reason: `live.debug: ${reason}` });
      }

      function wear() {
        clearTimeout(worn);
        const mean = cuts();
        if (mean) worn = setTimeout(cut, -mean * Math.log(1 - Math.random()), "cut"); // as rare as a Poisson process has it
      }

      return {
        send: (vector) => outwards(() => alive() && transport.send(vector)),
        close: () => (gone(), transport.close()),
      };
    };
  }

  /** @param {Name} name */
  #blocks(name) {
    return this.#faults.down || this.#faults.blocked?.includes(name);
  }

  /** One way: what goes in comes out later, in its order. */
  #line() {
    /** @type {(() => void)[]} */
    const waiting = [];
    let last = 0;
    return (/** @type {() => void} */ arrive) => {
      const { latency = 0, jitter = 0 } = this.#faults;
      last = Math.max(last, performance.now() + latency + Math.random() * jitter);
      waiting.push(arrive);
      const wait = last - performance.now();
      const next = () => waiting.shift()?.();
      if (wait > 0 || waiting.length > 1) setTimeout(next, wait);
      else next();
    };
  }
}

/** @param {import("./websocket.js").Ears} ears */
function broken({ ended }) {
  const timer = setTimeout(ended, 0, { code: 1006, reason: "live.debug: blocked" });
  return { send: () => {}, close: () => clearTimeout(timer) };
}
