// What one does to messages that were said: edit, delete, react, answer, go to what was answered.

import { edit } from "./editor.js";
import { part } from "./message.js";
import { excerpt, visit } from "./quote.js";
import { reacted, showReaction } from "./reactions.js";

const SHOWN = 8_000; // ms that a complaint stands

/**
 * @param {object} parts
 * @param {import("./messages.js").MessageList} parts.list
 * @param {import("./room.js").LiveRoom} parts.room
 * @param {import("./composer.js").Composer} parts.composer
 * @param {HTMLDialogElement} parts.dialog
 * @param {HTMLElement} parts.notice
 * @returns {import("./tools.js").Actions}
 */
export function actions({ list, room, composer, dialog, notice }) {
  /** @type {number | undefined} */
  let timer;

  /** @param {string} what @param {unknown} error */
  function complain(what, error) {
    clearTimeout(timer);
    notice.textContent = `${what} ${error instanceof Error ? error.message : error}`;
    notice.hidden = false;
    timer = setTimeout(() => (notice.hidden = true), SHOWN);
  }

  /** @param {HTMLElement} item */
  async function remove(item) {
    if (!(await asked(dialog, excerpt(item)))) return item.focus();
    item.classList.add("leaving");
    composer.focus();
    try {
      const { version } = await room.send("chat.delete", { message: item.dataset.id });
      list.bury({ id: item.dataset.id ?? "", version });
    } catch (error) {
      complain("Not deleted.", error);
    } finally {
      item.classList.remove("leaving");
    }
  }

  /** @param {HTMLElement} item @param {string} emoji */
  async function react(item, emoji) {
    const before = reacted(item, emoji);
    const others = before.filter((user) => user !== list.me.id);
    const on = others.length === before.length;
    showReaction(item, emoji, on ? [...others, list.me.id] : others, list.me.id); // at once; the event has the last word
    list.end.changed();
    try {
      await room.send("chat.react", { message: item.dataset.id, emoji, on });
    } catch (error) {
      showReaction(item, emoji, before, list.me.id);
      complain("Your reaction was not kept.", error);
    }
  }

  /** @param {HTMLElement} item */
  function change(item) {
    const { id = "", version = "1" } = item.dataset;
    const author = list.me;
    const created_at = /** @type {HTMLTimeElement} */ (part(item, "time")).dateTime;
    edit(
      item,
      async (text) => {
        const answer = await room.send("chat.edit", { message: id, text, version: Number(version) });
        list.edit({ id, text, author, created_at, version: answer.version, reply_to: item.dataset.replyTo });
      },
      () => composer.focus(),
    );
  }

  return { reply: (item) => composer.reply(item), edit: change, remove, react, leave: () => composer.focus() };
}

/** @param {HTMLDialogElement} dialog @param {string} text @returns {Promise<boolean>} */
function asked(dialog, text) {
  part(dialog, "doomed").textContent = text;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}

/**
 * Quotes lead to what they quote, however long ago it was said.
 *
 * @param {HTMLElement} scroller
 * @param {import("./older.js").Older} older
 * @param {import("./end.js").End} end
 */
export function followQuotes(scroller, older, end) {
  scroller.addEventListener("click", async (event) => {
    const quote = /** @type {HTMLElement} */ (event.target).closest(".message-quote");
    if (!quote) return;
    event.preventDefault();
    const found = await older.find((quote.getAttribute("href") ?? "").slice(3)); // #m-<id>
    if (found) visit(found, end);
  });
}
