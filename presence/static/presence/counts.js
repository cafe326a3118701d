// How many people are in each of my rooms, beside their names: the page brought the numbers of then, the tenants' `~all` tell
// of changes. A private room is not spoken of there: its own presence tells.

import { hold } from "../rooms/shared.js";

const MOST = 10; // tenants that are listened to; a connection has room for so many beside the list's own
const SPREAD = 5_000; // ms over which pages that all lost their connection ask again

const page = /** @type {HTMLElement} */ (document.querySelector(".rooms"));
/** @type {Map<string, HTMLElement>} */
const places = new Map();
for (const place of /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-people-of]"))) {
  places.set(place.dataset.peopleOf ?? "", place);
}
if (places.size) listen();

function listen() {
  const { live } = hold(page.dataset.userId ?? null, page.dataset.session);
  const tenants = new Set([...places.keys()].map((room) => room.split("/")[0]));
  let joined = false;
  for (const tenant of [...tenants].slice(0, MOST)) {
    const all = live.room(`${tenant}/~all`);
    all.on("presence.counts", ({ rooms }) => {
      for (const [slug, count] of Object.entries(rooms)) show(`${tenant}/${slug}`, count);
    });
  }
  for (const [room, place] of places) {
    if (!place.hasAttribute("data-private")) continue;
    const own = live.room(room, { present: false });
    for (const name of ["presence.state", "presence.diff"]) own.on(name, ({ count }) => show(room, count));
  }
  live.on("state", ({ state }) => {
    if (state !== "connected") return;
    if (joined) setTimeout(refresh, Math.random() * SPREAD); // what changed meanwhile is not told again
    joined = true;
  });
}

/** @param {string} room @param {number} count */
function show(room, count) {
  const place = places.get(room);
  const number = place?.querySelector("[data-part=count]");
  if (!place || !number) return;
  number.textContent = String(count);
  place.hidden = !count;
}

/** The numbers of now, as the page would bring them. */
async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (fresh.querySelectorAll("[data-people-of]"))) {
    show(place.dataset.peopleOf ?? "", Number(place.querySelector("[data-part=count]")?.textContent));
  }
}
