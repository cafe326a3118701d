// A roster on a page: who is here, as the room tells it, with what the reader may do about themselves.

import { hold } from "../rooms/shared.js";
import { paint } from "../rooms/avatar.js";
import { Comings } from "./comings.js";
import { ownStatus } from "./own-status.js";
import { Pages } from "./pages.js";
import { People } from "./people.js";
import { Roster } from "./roster.js";

const FACES = 5; // on the button of a roster that is folded away

/**
 * @param {HTMLElement} element with the markup and the attributes of live_roster.html
 * @returns {() => void} ends it
 */
export function follow(element) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (element.querySelector(selector));
  const given = (/** @type {string} */ name) => element.getAttribute(name) ?? "";
  const me = given("user-id");
  const { live, release } = hold(me || null, given("session"));
  const room = live.room(given("room"));
  const roster = new Roster();
  find("[data-note]").hidden = true;
  const pages = new Pages(given("room"), given("api") || "/api/");
  const people = new People(find("[data-people]"), find("template"), find("[data-more]"), me);
  const comings = new Comings(find("[data-comings]"), me);
  const forgo = me ? ownStatus(find("[data-own]"), room, `${me}:${given("session")}`) : () => {};
  let frame = 0;

  /** Once a frame: in a busy room several changes come together. */
  function draw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const { count, whole } = roster;
      const shown = whole ? roster.people(me) : pages.people;
      element.toggleAttribute("known", count !== null);
      find("[data-count]").textContent = count ?? "";
      find("[data-summary]").textContent = count === null ? "" : count === 1 ? "1 person here" : `${count} people here`;
      find("[data-faces]").replaceChildren(...shown.slice(0, FACES).map(face));
      people.show(shown, whole || !pages.done ? (count ?? 0) : shown.length);
    });
  }

  people.wanted = () => {
    const note = find("[data-note]");
    pages.read().then(
      () => ((note.hidden = true), draw()),
      (error) => ((note.hidden = false), (note.textContent = error.message)),
    );
  };

  /** @param {Error | { reason: string }} [why] */
  function gone(why) {
    roster.forget();
    comings.stop();
    draw();
    const note = find("[data-note]");
    find("[data-own]").hidden = true;
    note.hidden = false;
    note.textContent = why instanceof Error ? "There is no room here for you." : "You are not in this room any more.";
  }

  const heard = {
    "presence.state": (/** @type {import("./roster.js").State} */ state) => {
      if (state.people.length < state.count) pages.forget(); // as it is now
      roster.begin(state);
      draw();
    },
    "presence.diff": (/** @type {import("./roster.js").Diff} */ diff) => {
      if (!roster.follow(diff)) return;
      if (roster.whole) comings.hear(diff);
      draw();
    },
    refused: gone,
    left: gone,
  };
  const deaf = Object.entries(heard).map(([name, listener]) => room.on(name, /** @type {any} */ (listener)));
  const state = () => (element.dataset.state = live.state.state);
  deaf.push(live.on("state", state), folding(find("[data-toggle]"), find("[data-panel]")));
  state();

  return () => {
    deaf.forEach((stop) => stop());
    cancelAnimationFrame(frame);
    comings.stop();
    forgo();
    room.leave();
    release();
  };
}

/** @param {import("./roster.js").Present} person */
function face({ user }) {
  const avatar = document.createElement("span");
  avatar.className = "rooms-avatar";
  paint(avatar, user.id, user.name);
  return avatar;
}

/** Where a window is narrow the list is behind a button. @param {HTMLButtonElement} button @param {HTMLElement} panel */
function folding(button, panel) {
  const fold = (/** @type {boolean} */ open) => {
    button.setAttribute("aria-expanded", String(open));
    panel.classList.toggle("open", open);
  };
  button.onclick = () => fold(button.getAttribute("aria-expanded") !== "true");
  panel.onkeydown = ({ key }) => {
    if (key !== "Escape" || !button.checkVisibility()) return;
    fold(false);
    button.focus();
  };
  return () => fold(false);
}
