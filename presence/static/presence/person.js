// One person in a list: the markup is the page's <template>, and text goes in as text.

import { paint } from "../rooms/avatar.js";
import { newItem, part } from "../rooms/message.js";

/** @typedef {import("./roster.js").Present} Present */

const STATUS = { active: "Active", away: "Away", busy: "Busy" };
/** @type {Record<string, string>} */
const DEVICES = { desktop: "computer", mobile: "phone", tablet: "tablet", other: "other device" };
/** @type {Record<string, string>} */
const TRANSPORTS = { websocket: "WebSocket", ws: "WebSocket", sse: "event stream", poll: "polling" };

/** @param {HTMLTemplateElement} template @param {Present} person @param {string} me */
export function newPerson(template, person, me) {
  const item = newItem(template);
  item.dataset.user = person.user.id;
  part(item, "self").hidden = person.user.id !== me;
  show(item, person);
  return item;
}

/** @param {HTMLElement} item @param {Present} person as they are now */
export function show(item, person) {
  const { user, status, text } = person;
  const told = JSON.stringify(person);
  if (item.dataset.told === told) return; // most of a list has not changed
  item.dataset.told = told;
  item.dataset.status = status;
  paint(part(item, "avatar"), user.id, user.name);
  part(item, "name").textContent = user.name;
  const words = part(item, "status");
  words.textContent = STATUS[status] ?? status;
  words.classList.toggle("visually-hidden", status === "active"); // the rule, and so only heard
  part(item, "saying").textContent = text;
  part(item, "means").textContent = means(person);
}

/** `On a computer (WebSocket) and a phone (polling), since 14:05`. @param {Present} person */
export function means({ metas, since }) {
  const each = metas.map(({ transport, device }) => {
    const name = DEVICES[device] ?? device;
    return `${/^[aeio]/.test(name) ? "an" : "a"} ${name} (${TRANSPORTS[transport] ?? transport})`;
  });
  const on = each.length ? `On ${LIST.format(each)}, since` : "Since";
  return `${on} ${time(new Date(since))}`;
}

/** @param {Date} at */
function time(at) {
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(undefined, today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

const LIST = new Intl.ListFormat("en");
