// What can be done to the message under the pointer or the focus: one toolbar that goes from message to message.

import { messageOf, part } from "./message.js";

/**
 * @typedef {object} Actions what the buttons do, to the message whose item they get
 * @property {(item: HTMLElement) => void} reply
 * @property {(item: HTMLElement) => void} edit
 * @property {(item: HTMLElement) => void} remove
 * @property {(item: HTMLElement, emoji: string) => void} react
 * @property {() => void} leave back to where one writes
 */

export class Tools {
  /** What the reader may do here. @type {string[]} */
  can = [];
  #bar;
  #picker;
  #scroller;
  #actions;

  /** @param {HTMLElement} bar @param {HTMLElement} scroller @param {Actions} actions */
  constructor(bar, scroller, actions) {
    this.#bar = bar;
    this.#picker = /** @type {HTMLElement} */ (bar.querySelector("[data-picker]"));
    this.#scroller = scroller;
    this.#actions = actions;
    scroller.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse" && !bar.contains(document.activeElement)) this.#show(messageOf(event.target));
    });
    scroller.addEventListener("pointerleave", () => scroller.contains(document.activeElement) || this.#hide());
    scroller.addEventListener("focusin", (event) => this.#show(messageOf(event.target)));
    scroller.addEventListener("focusout", (event) => {
      if (!scroller.contains(/** @type {Node | null} */ (event.relatedTarget))) this.#hide();
    });
    scroller.addEventListener("keydown", (event) => this.#key(event));
    scroller.addEventListener("click", (event) => this.#click(event));
  }

  /** @param {HTMLElement | null} item */
  #show(item) {
    if (!item?.dataset.id || item.matches(".deleted, .pending, .failed, :has(.editor)")) return this.#hide();
    if (!this.can.includes("write") || item.contains(this.#bar)) return;
    const own = item.classList.contains("own");
    this.#open(false);
    this.#button("edit").hidden = !own;
    this.#button("delete").hidden = !own && !this.can.includes("moderate");
    part(item, "body").append(this.#bar);
    this.#bar.hidden = false;
  }

  #hide() {
    this.#open(false);
    this.#bar.hidden = true;
    this.#scroller.after(this.#bar); // it must not go with a message that goes
  }

  /** @param {boolean} open */
  #open(open) {
    this.#picker.hidden = !open;
    this.#button("react").setAttribute("aria-expanded", String(open));
    if (open) /** @type {HTMLElement} */ (this.#picker.firstElementChild).focus();
  }

  /** @param {string} name */
  #button(name) {
    return /** @type {HTMLButtonElement} */ (this.#bar.querySelector(`[data-do="${name}"]`));
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    const item = messageOf(button);
    if (!button || !item) return;
    const { emoji, do: what } = button.dataset;
    if (emoji) {
      if (this.#picker.contains(button)) this.#button("react").focus();
      this.#open(false);
      this.#actions.react(item, emoji);
    } else if (what === "react") this.#open(this.#picker.hidden);
    else if (what === "reply") this.#actions.reply(item);
    else if (what === "edit") this.#actions.edit(item);
    else if (what === "delete") this.#actions.remove(item);
    if (what === "edit" || what === "reply") this.#hide();
  }

  /** Arrows go from message to message, in the toolbar from button to button. @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape") {
      if (this.#picker.hidden) this.#actions.leave();
      else this.#open(false), this.#button("react").focus();
    } else if (this.#bar.contains(target)) {
      const buttons = [...this.#bar.querySelectorAll("button")].filter((button) => button.checkVisibility());
      step(event, buttons, "ArrowLeft", "ArrowRight");
    } else if (target === this.#scroller || target.matches("li.message")) {
      step(event, /** @type {NodeListOf<HTMLElement>} */ (this.#scroller.querySelectorAll("li.message")), "ArrowUp", "ArrowDown");
    }
  }
}

/**
 * @param {KeyboardEvent} event
 * @param {Iterable<HTMLElement>} elements
 * @param {string} back
 * @param {string} forth
 */
function step(event, elements, back, forth) {
  const all = [...elements];
  const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
  const last = all.length - 1;
  const places = { [back]: at < 0 ? last : at - 1, [forth]: at < 0 ? last : at + 1, Home: 0, End: last };
  if (!(event.key in places) || !all.length) return;
  event.preventDefault();
  all[Math.min(last, Math.max(0, places[event.key]))].focus();
}
