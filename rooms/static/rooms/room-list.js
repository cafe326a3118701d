// My rooms, with what happens in them: who spoke last, and where something is unread. Where something is said goes first.

import { part } from "./message.js";
import { hold } from "./shared.js";
import { statusLine } from "./status.js";

const MOST = 90; // rooms that one connection follows; the server allows 100

const page = /** @type {HTMLElement} */ (document.querySelector(".rooms"));
const rows = /** @type {HTMLElement[]} */ ([...page.querySelectorAll("[data-room]")]);
for (const row of page.querySelectorAll(".room-list li")) showTime(/** @type {HTMLElement} */ (row));
if (rows.length) {
  const { live } = hold(page.dataset.userId ?? null, page.dataset.session);
  for (const row of rows.slice(0, MOST)) {
    const room = live.room(row.dataset.room ?? "", { cursor: row.dataset.cursor, present: false });
    room.on("chat.message", ({ message }) => message.deleted || show(row, message));
    room.on("chat.read", ({ user }) => user.id === page.dataset.userId && mark(row, false));
  }
  const status = statusLine(/** @type {HTMLElement} */ (page.querySelector("[data-status]")));
  live.on("state", status);
  status(live.state);
}

/** @type {Set<HTMLElement>} */
const news = new Set(); // rows that wait for the pointer to leave their list: nothing moves from under it
for (const list of page.querySelectorAll(".room-list")) {
  list.addEventListener("pointerleave", () => {
    for (const row of news) {
      if (!list.contains(row)) continue;
      news.delete(row);
      lift(row);
    }
  });
}

/** @param {HTMLElement} row @param {import("./message.js").Message} message */
function show(row, message) {
  part(row, "author").textContent = message.author?.name ?? "";
  part(row, "text").textContent = message.text ?? "";
  /** @type {HTMLTimeElement} */ (part(row, "time")).dateTime = message.created_at;
  showTime(row);
  mark(row, message.author?.id !== page.dataset.userId);
  news.delete(row); // the latest comes last
  if (row.parentElement?.matches(":hover")) news.add(row);
  else lift(row);
}

/** To the top. What has the focus stays where it is in the document, and so keeps it. @param {HTMLElement} row */
function lift(row) {
  const list = row.parentElement;
  if (!list || list.firstElementChild === row) return;
  if (!row.contains(document.activeElement)) return list.prepend(row);
  const above = [...list.children].slice(0, [...list.children].indexOf(row));
  row.after(...above);
}

/** @param {HTMLElement} row @param {boolean} unread */
function mark(row, unread) {
  row.classList.toggle("unread", unread);
  part(row, "dot").hidden = !unread;
}

/** @param {HTMLElement} row */
function showTime(row) {
  const time = /** @type {HTMLTimeElement} */ (part(row, "time"));
  if (!time.dateTime) return;
  const at = new Date(time.dateTime);
  const today = at.toDateString() === new Date().toDateString();
  time.textContent = at.toLocaleString(undefined, today ? { timeStyle: "short" } : { day: "numeric", month: "short" });
  time.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "short" });
}
