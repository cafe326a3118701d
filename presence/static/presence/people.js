// The list of people: each has an item that stays theirs, so that nothing flickers and the focus keeps its place. It is one
// stop of the Tab key, and the arrows go from person to person.

import { newPerson, show } from "./person.js";

/** @typedef {import("./roster.js").Present} Present */

const PAGE = 50; // people shown at once; more when they are asked for

export class People {
  /** Told when more are wanted than there are. @type {() => void} */
  wanted = () => {};
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Present[]} */
  #people = [];
  #count = 0;
  #most = PAGE;
  #list;
  #template;
  #more;
  #me;

  /**
   * @param {HTMLElement} list
   * @param {HTMLTemplateElement} template of an item
   * @param {HTMLButtonElement} more
   * @param {string} me
   */
  constructor(list, template, more, me) {
    this.#list = list;
    this.#template = template;
    this.#more = more;
    this.#me = me;
    list.replaceChildren(); // of an earlier life of the element
    more.onclick = () => this.#showMore();
    list.onkeydown = (event) => this.#key(event);
  }

  /** @param {Present[]} people in their order @param {number} count of all, those too who are not among these */
  show(people, count) {
    this.#people = people;
    this.#count = count;
    const shown = people.slice(0, this.#most);
    const ids = new Set(shown.map(({ user }) => user.id));
    for (const [id, item] of this.#items) if (!ids.has(id)) this.#drop(id, item);
    let next = this.#list.firstElementChild;
    for (const person of shown) {
      const item = this.#item(person);
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
    this.#list.hidden = !shown.length; // an empty list is no list
    this.#label();
  }

  /** @param {Present} person */
  #item(person) {
    const known = this.#items.get(person.user.id);
    if (known) show(known, person);
    const item = known ?? newPerson(this.#template, person, this.#me);
    this.#items.set(person.user.id, item);
    return item;
  }

  /** @param {string} id @param {HTMLElement} item */
  #drop(id, item) {
    if (item === document.activeElement) this.#list.focus();
    this.#items.delete(id);
    item.remove();
  }

  #label() {
    const rest = this.#count - this.#items.size;
    this.#more.hidden = rest <= 0;
    this.#more.textContent = this.#items.size ? `and ${rest} more` : "Show who";
  }

  #showMore() {
    const before = this.#items.size;
    this.#most += PAGE;
    this.show(this.#people, this.#count);
    if (this.#items.size === before) this.wanted();
    else /** @type {HTMLElement} */ (this.#list.children[before]).focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.#list.children]);
    const at = items.indexOf(/** @type {HTMLElement} */ (event.target));
    const last = items.length - 1;
    /** @type {Record<string, number>} */
    const places = { ArrowUp: at < 0 ? last : at - 1, ArrowDown: at + 1, Home: 0, End: last };
    if (!(event.key in places) || !items.length) return;
    event.preventDefault();
    items[Math.min(last, Math.max(0, places[event.key]))].focus();
  }
}
