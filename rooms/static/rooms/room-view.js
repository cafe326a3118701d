// A room on a page: the history that came with it, then what happens, live.

import { actions, followQuotes } from "./actions.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { End } from "./end.js";
import { MessageList } from "./messages.js";
import { Older, fetchPage } from "./older.js";
import { showReaction } from "./reactions.js";
import { Seen } from "./seen.js";
import { hold } from "./shared.js";
import { statusLine } from "./status.js";
import { Tools } from "./tools.js";
import { TypingLine } from "./typing.js";
import { Unread } from "./unread.js";

/**
 * @param {HTMLElement} element with the markup and the attributes of live_room.html
 * @returns {() => void} ends it
 */
export function follow(element) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (element.querySelector(selector));
  const given = (/** @type {string} */ name) => element.getAttribute(name) ?? "";
  const me = { id: given("user-id"), name: given("user-name") };
  const scroller = find("[data-messages]");
  const end = new End(scroller, find("ol"));
  const list = new MessageList(find("ol"), find("template"), me, end);
  const older = new Older(scroller, find("[data-older]"), list);
  followQuotes(scroller, older, end);
  const seen = new Seen(find("[data-seen]"), list);
  seen.take(find("[data-marks]"));
  const rest = () => (end.stop(), older.stop(), seen.stop());
  if (element.hasAttribute("archived")) return rest; // nothing happens here any more

  const { live, release } = hold(me.id || null, given("session"));
  const status = statusLine(find("[data-status]"));
  const unfollow = live.on("state", status);
  status(live.state);

  const room = live.room(given("room"), { cursor: given("cursor"), snapshot });
  room.can = given("can").split(" ");
  const say = (/** @type {string} */ name, /** @type {object} */ data) => {
    const can = Boolean(me.id) && live.state.state === "connected"; // worth nothing later
    if (can) room.send(name, data).catch(() => {});
    return can;
  };
  const composer = new Composer(find("[data-composer]"), find("[data-reasons]"), list, room, (typing) =>
    say("chat.typing", { typing }),
  );
  const doing = actions({ list, room, composer, dialog: find("[data-dialog]"), notice: find("[data-notice]") });
  const tools = new Tools(find("[data-tools]"), scroller, doing);
  const typing = new TypingLine(find("[data-typing]"), me.id);
  const announcer = new Announcer(find("[data-announcer]"));
  const read = element.hasAttribute("read") ? Number(given("read")) : null;
  const unread = new Unread(list, find("[data-pill]"), read, (seq) => say("chat.read", { seq }));
  const look = () => unread.look();
  const flush = () => unread.leave();
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", flush, { capture: true }); // before the connection is given up
  let readOnly = element.hasAttribute("read-only");
  tools.can = room.can;

  composer.wantsLast = () => {
    const own = list.items().filter((item) => item.matches(".own:not(.deleted)"));
    if (own.length) doing.edit(own[own.length - 1]);
  };

  function allow() {
    const may = room.can.includes("write");
    tools.can = room.can;
    composer.allow(may ? null : !me.id ? "logged-out" : readOnly ? "moderators" : "listener");
    for (const button of element.querySelectorAll(".reaction")) {
      /** @type {HTMLButtonElement} */ (button).disabled = !may;
    }
  }

  async function snapshot() {
    const { cursor, items, older, marks } = await fetchPage(given("src"));
    return {
      cursor,
      show: () => {
        list.replace(items);
        seen.take(marks);
        find("[data-older]").hidden = !older;
      },
    };
  }

  /** @param {string} reason @param {import("./composer.js").Why} why */
  function leave(reason, why) {
    composer.allow(why);
    tools.can = [];
    typing.clear();
    unfollow();
    room.leave();
    release(reason);
    status({ state: "stopped", reason, everOpen: true });
  }

  const heard = {
    joined: () => (allow(), unread.look()),
    "chat.message": (/** @type {any} */ { message }, /** @type {any} */ { seq }) => {
      const item = list.add(message, seq);
      if (message.author) typing.hear({ user: message.author, typing: false });
      if (!item) return;
      if (message.author?.id !== me.id) announcer.say(`${message.author?.name ?? "Somebody"}: ${message.text}`);
      unread.came(item);
      seen.look();
    },
    "chat.edited": (/** @type {any} */ { message }) => list.edit(message),
    "chat.deleted": (/** @type {any} */ { message }) => (list.bury(message), seen.look()),
    "chat.read": (/** @type {any} */ mark, /** @type {any} */ meta) => seen.hear(mark, meta),
    "chat.reaction": (/** @type {any} */ data, /** @type {any} */ { key }) => {
      const [id, emoji] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
      const item = list.get(id);
      if (item && !item.classList.contains("deleted")) showReaction(item, emoji, data?.users ?? [], me.id);
      end.changed();
    },
    "chat.typing": (/** @type {any} */ data) => typing.hear(data),
    "room.updated": (/** @type {any} */ changed) => {
      find("[data-title]").textContent = changed.name;
      readOnly = changed.read_only;
      room.join(); // its answer says what one may do now
    },
    "member.added": ask,
    "member.changed": ask,
    "member.removed": ask,
    "room.archived": () => composer.allow("archived"),
    refused: (/** @type {Error} */ error) => leave(error.message, "gone"),
    left: (/** @type {any} */ { code, reason }) => leave(reason, code === "archived" ? "archived" : "gone"),
  };
  const deaf = Object.entries(heard).map(([name, listener]) => room.on(name, /** @type {any} */ (listener)));

  /** @param {{ user: { id: string } }} member */
  function ask({ user }) {
    if (user.id === me.id) room.join();
  }

  return () => {
    rest();
    deaf.forEach((stop) => stop());
    document.removeEventListener("visibilitychange", look);
    removeEventListener("pagehide", flush, { capture: true });
    flush();
    unfollow();
    room.leave();
    release();
  };
}
