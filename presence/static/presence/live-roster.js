// <live-roster>: who is in a room, on any page. Made by the template tag `live_roster`; or by a page itself, with nothing
// but the room's name:
//
//     <live-roster room="acme/general" src="/t/acme/general/"></live-roster>

import { follow } from "./roster-view.js";

export class LiveRosterElement extends HTMLElement {
  /** @type {() => void} */
  #stop = () => {};

  async connectedCallback() {
    const room = this.getAttribute("room");
    if (!room) return;
    if (!this.querySelector("template")) {
      try {
        await this.#fetch(this.getAttribute("src") ?? `/t/${room}/`);
      } catch {
        this.textContent = "There is no room here for you.";
        return;
      }
    }
    if (this.isConnected) this.#stop = follow(this);
  }

  disconnectedCallback() {
    this.#stop();
  }

  /** The markup, as it is on the room's own page. @param {string} src */
  async #fetch(src) {
    const response = await fetch(src, { headers: { Accept: "text/html" } });
    if (!response.ok || response.redirected) throw new Error(`The page answered ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const roster = page.querySelector("live-roster");
    if (!roster) throw new Error("The page has no roster");
    for (const { name, value } of roster.attributes) if (name !== "folds") this.setAttribute(name, value);
    this.replaceChildren(...[...roster.childNodes].map((node) => document.importNode(node, true)));
  }
}

if (!customElements.get("live-roster")) customElements.define("live-roster", LiveRosterElement);
