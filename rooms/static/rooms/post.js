// Commands beside a stream or polls: POST /live/commands, one request at a time, so that they happen in their order.

import { endOf, refusal } from "./http.js";
import { encode } from "./protocol.js";

const LIMIT = 20_000; // ms that an answer may take
const KEEPALIVE_MAX = 60_000; // bytes of a request that may outlive its page; browsers allow 64 KB

export class Post {
  /** @type {{ id?: string, text: string }[]} */
  #waiting = [];
  #busy = false;
  #url;
  #token;
  #heard;
  #ended;

  /**
   * @param {() => URL} url as it is now
   * @param {string} token the CSRF token of whoever said these things; under another log-in it is refused
   * @param {(vectors: import("./protocol.js").Vector[]) => void} heard
   * @param {(end: import("./websocket.js").End) => void} ended
   */
  constructor(url, token, heard, ended) {
    this.#url = url;
    this.#token = token;
    this.#heard = heard;
    this.#ended = ended;
  }

  /**
   * @param {import("./protocol.js").Vector} vector
   * @param {number} maxBytes of a frame
   * @throws {import("./protocol.js").LiveError} when it cannot be sent at all
   */
  send(vector, maxBytes) {
    this.#waiting.push({ id: vector[2]?.id, text: encode(vector, maxBytes).slice(1, -1) });
    if (!this.#busy) this.#flush(maxBytes);
  }

  /** @param {number} maxBytes */
  async #flush(maxBytes) {
    this.#busy = true;
    await null; // what is said together goes together
    while (this.#waiting.length) {
      const batch = [this.#waiting.shift()];
      let bytes = size(batch[0]);
      while (this.#waiting.length && (bytes += size(this.#waiting[0])) <= maxBytes) batch.push(this.#waiting.shift());
      try {
        await this.#ask(/** @type {{ id?: string, text: string }[]} */ (batch));
      } catch (error) {
        this.#waiting = [];
        this.#ended({ code: 1006, reason: String(error) });
      }
    }
    this.#busy = false;
  }

  /** @param {{ id?: string, text: string }[]} batch */
  async #ask(batch) {
    const body = `[${batch.map(({ text }) => text).join(",")}]`;
    const response = await fetch(this.#url(), {
      method: "POST",
      body,
      headers: { "Content-Type": "application/json", "X-CSRFToken": this.#token },
      keepalive: body.length * 3 < KEEPALIVE_MAX,
      signal: AbortSignal.timeout(LIMIT),
    });
    if (response.ok) {
      this.#heard(await response.json());
    } else if ([401, 403].includes(response.status)) {
      this.#waiting = [];
      this.#ended(await endOf(response));
    } else {
      const error = await refusal(response);
      if (!error) throw new Error(`HTTP ${response.status}`);
      this.#heard(batch.flatMap(({ id }) => (id ? [["live.error", error, { re: id }]] : [])));
    }
  }
}

/** @param {{ text: string } | undefined} item */
function size(item) {
  return new TextEncoder().encode(item?.text).length + 2;
}
