// Where one message meets the one before it: a new day, or the same person going on.

import { part } from "./message.js";

const PAUSE = 5 * 60_000; // ms after which somebody who goes on is named again

/** @param {Element | null} item */
export function seam(item) {
  if (!(item instanceof HTMLElement)) return;
  const before = /** @type {HTMLElement | null} */ (item.previousElementSibling);
  const at = timeOf(item);
  const newDay = !before || timeOf(before).toDateString() !== at.toDateString();
  const day = part(item, "day");
  day.hidden = !newDay;
  if (newDay) day.textContent = nameOf(at);
  const goesOn =
    before !== null &&
    !newDay &&
    !item.dataset.replyTo &&
    part(item, "unread").hidden &&
    !before.classList.contains("deleted") &&
    before.dataset.author === item.dataset.author &&
    at.getTime() - timeOf(before).getTime() < PAUSE;
  item.classList.toggle("goes-on", goesOn);
}

/** @param {HTMLElement} item */
function timeOf(item) {
  return new Date(/** @type {HTMLTimeElement} */ (part(item, "time")).dateTime);
}

/** @param {Date} at */
function nameOf(at) {
  const now = new Date();
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (at >= today) return "Today";
  if (at >= yesterday) return "Yesterday";
  return (at.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(at);
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
