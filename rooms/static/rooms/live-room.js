// <live-room>: a room on any page. Made by the template tag `live_room`; or by a page itself, with nothing but its name:
//
//     <live-room room="acme/general" src="/t/acme/general/"></live-room>

import { fetchPage } from "./older.js";
import { follow } from "./room-view.js";
import { held } from "./shared.js";

export class LiveRoomElement extends HTMLElement {
  /** @type {() => void} */
  #stop = () => {};

  async connectedCallback() {
    const src = this.getAttribute("src") ?? `/t/${this.getAttribute("room")}/`;
    if (!this.getAttribute("room")) return; // a page of what was said, not a room
    if (!this.hasAttribute("cursor")) {
      try {
        const { room } = await fetchPage(src);
        for (const { name, value } of room.attributes) this.setAttribute(name, value);
        this.replaceChildren(...[...room.childNodes].map((node) => document.importNode(node, true)));
        lower(this.querySelector("h1"));
      } catch {
        this.textContent = "There is no room here for you.";
        return;
      }
    }
    if (this.isConnected) this.#stop = follow(this);
  }

  /** The connection, while there is one: for its `debug`, say. */
  get live() {
    return held(this.getAttribute("user-id") || null);
  }

  disconnectedCallback() {
    this.#stop();
    this.removeAttribute("cursor"); // what happens meanwhile is not seen: when it comes back it begins afresh
  }
}

/** On a page of its own a room's name is the page's title; here it is one heading among others. @param {Element | null} title */
function lower(title) {
  if (!title) return;
  const heading = document.createElement("h2");
  for (const { name, value } of title.attributes) heading.setAttribute(name, value);
  heading.append(...title.childNodes);
  title.replaceWith(heading);
}

if (!customElements.get("live-room")) customElements.define("live-room", LiveRoomElement);
