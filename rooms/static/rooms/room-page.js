// A room's page: the history that came with it, then what happens, live.

import { Composer } from "./composer.js";
import { connect } from "./live.js";
import { MessageList } from "./messages.js";
import { statusLine } from "./status.js";

/** @param {HTMLElement} page the element with `data-live-room`; see room.html for what is in it */
function follow(page) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (page.querySelector(selector));
  const { liveRoom: name = "", cursor, history = "", userId = "", userName = "" } = page.dataset;
  const list = new MessageList(find("[data-messages]"), find("template"), { id: userId, name: userName });
  if (page.dataset.archived !== undefined) return; // nothing happens here any more

  const status = statusLine(find("[data-status]"));
  const live = connect({ user: userId || null });
  live.on("state", status);
  status(live.state);

  const room = live.room(name, { cursor, snapshot });
  const composer = new Composer(find("form[data-composer]"), find("[data-reasons]"), list, room);
  let readOnly = page.dataset.readOnly !== undefined;

  function allow() {
    const may = room.can.includes("write");
    composer.allow(may ? null : !userId ? "logged-out" : readOnly ? "moderators" : "listener");
  }

  async function snapshot() {
    const response = await fetch(history, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`The history answered ${response.status}`);
    const { results } = await response.json();
    const cursor = (response.headers.get("Live-Cursor") ?? "").split("@")[1];
    return { cursor, show: () => list.replace(results.reverse()) };
  }

  /** @param {string} reason @param {import("./composer.js").Why} why */
  function end(reason, why) {
    composer.allow(why);
    live.stop(reason);
  }

  room.on("joined", allow);
  room.on("chat.message", ({ message }, { seq }) => list.add(message, seq));
  room.on("chat.edited", ({ message }) => list.edit(message));
  room.on("chat.deleted", ({ message }) => list.remove(message.id));
  room.on("room.updated", (changed) => {
    find("h1").textContent = changed.name;
    readOnly = changed.read_only;
    room.join(); // its answer says what one may do now
  });
  room.on("member.added", ask);
  room.on("member.changed", ask);
  room.on("member.removed", ask);
  room.on("room.archived", () => composer.allow("archived"));
  room.on("refused", (error) => end(error.message, "gone"));
  room.on("left", ({ code, reason }) => end(reason, code === "archived" ? "archived" : "gone"));

  /** @param {{ user: { id: string } }} member */
  function ask({ user }) {
    if (user.id === userId) room.join();
  }
}

for (const page of document.querySelectorAll("[data-live-room]")) follow(/** @type {HTMLElement} */ (page));
