// What people think of a message: an emoji each, how many, and whether the reader is one of them.

import { part } from "./message.js";

/**
 * @param {HTMLElement} item
 * @param {string} emoji
 * @param {string[]} users ids; none removes it
 * @param {string} me
 */
export function showReaction(item, emoji, users, me) {
  const all = part(item, "reactions");
  let button = reaction(item, emoji);
  if (!button && users.length) {
    button = document.createElement("button");
    button.type = "button";
    button.className = "reaction";
    button.dataset.emoji = emoji;
    all.append(button);
  }
  if (!users.length) button?.remove();
  else if (button) {
    button.dataset.users = users.join(" ");
    button.textContent = `${emoji} ${users.length}`;
    button.setAttribute("aria-pressed", String(users.includes(me)));
  }
  all.hidden = !all.childElementCount;
}

/** The ids of those who reacted so. @param {HTMLElement} item @param {string} emoji */
export function reacted(item, emoji) {
  return (reaction(item, emoji)?.dataset.users ?? "").split(" ").filter(Boolean);
}

/** @param {HTMLElement} item @param {string} emoji @returns {HTMLButtonElement | undefined} */
function reaction(item, emoji) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (part(item, "reactions").querySelectorAll("button"));
  return [...buttons].find((button) => button.dataset.emoji === emoji);
}
