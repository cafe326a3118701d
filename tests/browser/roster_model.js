// Random people who come, go and change in a room, told as the protocol says: a state after each join and whenever a reader
// was passed over, diffs between, some of them twice, some too early. The roster must be the room as it was last told.
// Gives what went wrong, or null.
async ([seed, steps]) => {
  const { Roster } = await import("/static/presence/roster.js");

  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(random() * n);
  const pick = (list) => list[below(list.length)];
  const LIMIT = 6;

  const roster = new Roster();
  let here = new Map(); // the truth
  let told = new Map(); // as of the last thing that was said
  let begun = false;
  let last = null;

  const person = (id) => ({
    user: { id, name: `Person ${id}` },
    status: pick(["active", "away", "busy"]),
    text: pick(["", "at lunch"]),
    since: "2026-11-24T12:00:00Z",
    metas: [{ transport: pick(["ws", "poll"]), since: "2026-11-24T12:00:00Z", device: "desktop" }],
  });
  const text = (people) => JSON.stringify([...people].sort((a, b) => (a.user.id < b.user.id ? -1 : 1)));

  function move() {
    const id = String(below(10));
    if (random() < 0.4) here.delete(id);
    else here.set(id, person(id));
  }

  function sayState() {
    const large = here.size > LIMIT;
    roster.begin({ people: large ? [] : [...here.values()], count: here.size });
    told = new Map(here);
    begun = true;
    last = null;
  }

  function sayDiff() {
    const large = [here.size > LIMIT, told.size > LIMIT];
    if (begun && large[0] !== large[1] && random() < 0.7) return sayState();
    if (begun && large[1] && !large[0]) return sayState(); // named again
    const diff = { joined: [], left: [], changed: [], count: here.size };
    if (!large[0]) {
      for (const [id, each] of here) {
        if (!told.has(id)) diff.joined.push(each);
        else if (JSON.stringify(told.get(id)) !== JSON.stringify(each)) diff.changed.push(each);
      }
      for (const [id, each] of told) if (!here.has(id)) diff.left.push(each);
    }
    const used = roster.follow(diff);
    if (used !== begun) return "a diff was used before the first state, or not used after it";
    if (begun) [told, last] = [new Map(here), diff];
  }

  function check() {
    if (!begun) return roster.count === null ? null : "something is known before the first state";
    if (roster.count !== told.size) return `${roster.count} are here, not ${told.size}`;
    const people = roster.people("3");
    if (told.size > LIMIT) return people.length || roster.whole ? "somebody is named in a large room" : null;
    if (text(people) !== text(told.values())) return `${text(people)} and not ${text(told.values())}`;
    if (told.has("3") && people[0].user.id !== "3") return "one is not the first";
  }

  for (let step = 0; step < steps; step++) {
    const chance = random();
    let wrong;
    if (chance < 0.5) move();
    else if (chance < 0.85) wrong = sayDiff();
    else if (chance < 0.95) last && roster.follow(last);
    else if (chance < 0.98 || begun) sayState();
    if (chance > 0.995) [begun, last] = [false, roster.forget()];
    wrong ??= check();
    if (wrong) return `step ${step}: ${wrong}`;
  }
  return null;
}
