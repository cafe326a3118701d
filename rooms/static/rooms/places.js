// The rooms of a connection whose rooms are chosen by its address, and where it stands in each. To the rooms it looks as
// if they had joined: `live.join` becomes a part of the address, and the answer, which names the room, names the join.

import { parseCursor } from "./protocol.js";

/** @typedef {import("./protocol.js").Vector} Vector */

export class Places {
  /**
   * id: of the join that waits for its answer; resume: where it goes on, once it is answered
   *
   * @type {Map<string, { cursor?: string, absent?: boolean, id?: string, resume?: string }>}
   */
  #places = new Map();

  /** @param {Vector} join `live.join` */
  join([, data, meta = {}]) {
    this.#places.set(meta.room ?? "", { cursor: data.cursor, absent: data.present === false, id: meta.id });
  }

  /** @param {string} room */
  leave(room) {
    this.#places.delete(room);
  }

  /**
   * @param {boolean} [quiet] the server says nothing of a join that goes on where it was: to hear what one may do in a
   *   room that joins, it is asked without its cursor first, and goes on from it with the next request
   * @returns {URLSearchParams}
   */
  query(quiet = false) {
    const parts = [...this.#places].map(([room, place]) => {
      if (!quiet || !place.id) return ["room", place.cursor ? `${room}@${place.cursor}` : room];
      place.resume ??= place.cursor;
      return ["room", room];
    });
    for (const [room, { absent }] of this.#places) if (absent) parts.push(["absent", room]);
    return new URLSearchParams(parts);
  }

  /** @param {string} composite `acme/general@e7a1…:44 acme/random@0b…:7` @returns {Set<string>} the rooms that it names */
  moved(composite) {
    const parts = composite.split(" ").filter(Boolean);
    return new Set(
      parts.map((part) => {
        const [room, cursor] = part.split("@");
        const place = this.#places.get(room);
        if (place) place.cursor = place.resume ?? cursor;
        if (place) place.resume = undefined;
        return room;
      }),
    );
  }

  /** Only these are left, and those that have yet to be asked for. @param {Set<string>} rooms */
  keep(rooms) {
    for (const [room, { id }] of this.#places) if (!id && !rooms.has(room)) this.#places.delete(room);
  }

  /**
   * What the vector is to those who joined. An answer that nobody asked for, of a room that goes on as it was, has no `re`.
   *
   * @param {Vector} vector
   * @returns {Vector}
   */
  translate(vector) {
    const [name, data, meta = {}] = vector;
    if (name === "live.left") this.#places.delete(meta.room ?? "");
    const room = meta.re ?? "";
    const place = this.#places.get(room);
    if (!place || meta.room !== undefined) return vector;
    const { id } = place;
    if (name === "live.error" && !id && data.temporary) {
      return ["live.bye", { code: 1012, reason: data.detail, retry_after_ms: data.retry_after_ms }];
    }
    place.id = undefined;
    if (name === "live.ok") place.cursor = data.cursor;
    else this.#places.delete(room);
    if (id && name === "live.ok" && place.resume) return [name, this.#resumed(place, data), { re: id }];
    if (id) return [name, data, { re: id }];
    // nobody asked: other rooms changed, and so this one was opened again
    if (name === "live.error") return ["live.left", { code: data.code, reason: data.detail }, { room }];
    return data.verdict === "resumed" ? [name, data] : ["live.reset", { cursor: data.cursor, reason: "" }, { room }];
  }

  /** @param {{ resume?: string }} place @param {any} answer to a join without a cursor */
  #resumed(place, answer) {
    const { epoch, seq } = parseCursor(place.resume ?? "");
    if (epoch === answer.epoch && seq <= answer.head) return { ...answer, verdict: "resumed", cursor: place.resume };
    place.resume = undefined;
    return { ...answer, verdict: "reset" };
  }
}
