// How the reader is seen in this room: active or away as they look at the page or do not, busy and in words of their own as
// they chose. The connection says it once for all tabs.

import { part } from "../rooms/message.js";
import { Attention } from "./attention.js";
import { Choice } from "./choice.js";

/**
 * @param {HTMLElement} element with the form
 * @param {import("../rooms/room.js").LiveRoom} room
 * @param {string} person their id, and their log-in
 * @returns {() => void} ends it
 */
export function ownStatus(element, room, person) {
  const form = /** @type {HTMLFormElement} */ (element.querySelector("form"));
  const busy = /** @type {HTMLInputElement} */ (part(form, "busy"));
  const words = /** @type {HTMLInputElement} */ (part(form, "words"));
  const choice = new Choice(person);
  const attention = new Attention(() => say());

  function say() {
    const { busy, text } = choice.is;
    const status = busy ? "busy" : attention.here ? "active" : "away";
    // on a new connection one is active: a page that is opened has nothing to say
    const silent = status === "active" && !text;
    room.stand("presence.set", { status, text }, { rank: Number(attention.here), silent });
  }

  function choose() {
    choice.is = { busy: busy.checked, text: words.value.trim() };
  }

  function show() {
    const chosen = choice.is;
    busy.checked = chosen.busy;
    if (words !== document.activeElement) words.value = chosen.text;
  }

  choice.changed = () => (show(), say());
  busy.onchange = choose;
  words.onchange = choose;
  form.onsubmit = (event) => {
    event.preventDefault();
    choose();
    words.value = choice.is.text;
  };
  show();
  say();
  element.hidden = false;

  return () => {
    choice.stop();
    attention.stop();
  };
}
