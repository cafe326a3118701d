// How far the tabs are with what the server sent. The fastest one sets the pace: the server is told of a frame as handled
// when the first tab has painted it. One that is slower falls behind and holds nobody up.

/** @typedef {import("./switchboard.js").Port} Port */

const AHEAD = 256; // frames that a tab may have unpainted; one that has more is behind, and costs no memory but its places

export class Pace {
  /** Frames that the server awaits to be handled. @type {{ needs: Map<Port, number>, handled: (hidden: boolean) => void }[]} */
  #unpainted = [];
  #isWatched;

  /** @param {() => boolean} isWatched whether somebody looks at any of the tabs */
  constructor(isWatched) {
    this.#isWatched = isWatched;
  }

  /** A frame is about to go to these tabs. @param {Port[]} ports @param {(hidden: boolean) => void} handled */
  goes(ports, handled) {
    const needs = new Map(ports.map((port) => [port, ++port.sent]));
    for (const port of ports) port.behind ||= port.sent - port.painted > AHEAD;
    this.#unpainted.push({ needs, handled });
  }

  /**
   * @param {Port} port
   * @param {number} frames of those that went to it
   * @returns {boolean} whether it was behind, and has caught up
   */
  painted(port, frames) {
    port.painted = frames;
    this.settle(this.#unpainted.findLastIndex(({ needs }) => (needs.get(port) ?? Infinity) <= frames));
    const caughtUp = port.behind && frames >= port.sent;
    if (caughtUp) port.behind = false;
    return caughtUp;
  }

  /** The tab is gone. @param {Port} port */
  drop(port) {
    for (const { needs } of this.#unpainted) needs.delete(port);
    this.settle();
  }

  /** @param {number} [last] of the frames that are painted, with all before it; those that nobody has to paint follow */
  settle(last = -1) {
    const next = this.#unpainted.findIndex(({ needs }, index) => index > last && needs.size);
    const done = this.#unpainted.splice(0, next < 0 ? this.#unpainted.length : next);
    for (const { handled } of done) handled(!this.#isWatched());
  }

  /** The server waits for nothing any more. */
  reset() {
    this.#unpainted = [];
  }
}
