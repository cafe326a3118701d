// What both ends agree on: vectors, ids, cursors, errors, and when to come back. See docs/protocol.md.

/** @typedef {{ room?: string, id?: string, re?: string, seq?: number, at?: string, by?: string | null, key?: string }} Meta */
/** @typedef {[name: string, data: any, meta?: Meta]} Vector */

export const SUBPROTOCOL = "live.v1";
export const MAX_FRAME_BYTES = 64 * 1024; // until live.hello says otherwise

/** A refusal: `code` is one of the protocol's error codes. `temporary`: the same thing may work later. */
export class LiveError extends Error {
  /** @param {{ code: string, detail: string, temporary?: boolean, retry_after_ms?: number }} refusal */
  constructor({ code, detail, temporary = false, retry_after_ms }) {
    super(detail);
    this.name = "LiveError";
    this.code = code;
    this.temporary = temporary;
    this.retryAfter = retry_after_ms;
  }
}

/** 128 random bits. Unlike `crypto.randomUUID` this works on plain http too. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * One vector as a frame.
 *
 * @param {Vector} vector
 * @param {number} [maxBytes]
 * @throws {LiveError} `too_large`; or `bad_data` for half a character, which would make the whole frame unreadable
 */
export function encode(vector, maxBytes = MAX_FRAME_BYTES) {
  const frame = JSON.stringify([vector], (_, value) => {
    if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
      throw new LiveError({ code: "bad_data", detail: "The text holds half a character." });
    }
    return value;
  });
  if (new TextEncoder().encode(frame).length > maxBytes) {
    throw new LiveError({ code: "too_large", detail: "This is too long to be sent." });
  }
  return frame;
}

/** @param {string} cursor */
export function parseCursor(cursor) {
  const [epoch, seq] = cursor.split(":");
  return { epoch, seq: Number(seq) };
}

/**
 * Whether a client may connect again after this close code; 4501 only once, with a renewed session.
 *
 * @param {number} code
 */
export function mayReturn(code) {
  return !(code >= 4500 && code <= 4999) && ![1002, 1003, 1007, 1009].includes(code);
}

/**
 * Full jitter: a node that comes back does not meet all its clients at once.
 *
 * @param {number} tries that failed before this one
 * @returns {number} milliseconds
 */
export function backoff(tries) {
  return Math.random() * Math.min(30_000, 500 * 2 ** tries);
}

/** What happens, to those who listen. A listener that throws is reported and stops nobody. */
export class Emitter {
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();

  /**
   * @param {string} name
   * @param {(...args: any[]) => void} listener
   * @returns {() => void} stops it
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /**
   * @protected
   * @param {string} name
   * @param {...any} args
   */
  emit(name, ...args) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(...args);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
