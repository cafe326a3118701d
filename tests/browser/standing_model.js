// Random tabs that put their words for a room, on connections that come and go. What the server holds must in the end be the
// word of the highest rank, and no connection may hear the same twice running. Gives what went wrong, or null.
async ([seed, steps]) => {
  const { Standing } = await import("/static/rooms/standing.js");
  const { TIMES } = await import("/static/rooms/times.js");
  TIMES.linger = 1;

  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(random() * n);
  const pick = (list) => list[below(list.length)];
  const turn = (ms = 0) => new Promise((done) => setTimeout(done, ms));

  const ROOMS = ["r", "s"];
  const faults = [];
  const unanswered = [];
  let joined = new Set();
  let holds = { r: "active", s: "active" }; // on the server
  let heard = { r: null, s: null }; // last, on this connection

  const standing = new Standing(([, { status }, { room, id }]) => {
    if (!joined.has(room)) faults.push(`said in ${room} before it was joined`);
    if (heard[room] === status) faults.push(`${status} said twice in ${room}`);
    const refused = random() < 0.2;
    unanswered.push({ id, room, refused });
    heard[room] = status;
    if (!refused) holds[room] = status;
  });
  const words = new Map(); // by reader, the latest last
  const ports = [{}, {}, {}];

  function put() {
    const [at, room] = [below(ports.length), pick(ROOMS)];
    const reader = `${at} ${room}`;
    const word = pick([
      { data: { status: "active" }, rank: 1, silent: true },
      { data: { status: "away" }, rank: 0, silent: false },
      { data: { status: "busy" }, rank: below(2), silent: false },
    ]);
    const before = words.get(reader);
    if (before?.status !== word.data.status || before.rank !== word.rank) words.delete(reader);
    words.set(reader, { room, status: word.data.status, rank: word.rank });
    standing.put(ports[at], reader, room, "presence.set", word);
  }

  function drop() {
    const port = below(ports.length);
    standing.drop((_, word) => word.port === ports[port]);
    for (const room of ROOMS) words.delete(`${port} ${room}`);
  }

  function join(room) {
    joined.add(room);
    standing.joined(room);
  }

  function reconnect() {
    joined = new Set();
    unanswered.length = 0;
    holds = { r: "active", s: "active" };
    heard = { r: null, s: null };
    standing.reset();
  }

  function leave(room) {
    joined.delete(room);
    heard[room] = null;
    if (random() < 0.5) holds[room] = "active"; // as soon as nobody remembers
    standing.left(room);
  }

  function answer() {
    const { id, room, refused } = unanswered.shift() ?? {};
    if (!id) return;
    if (refused && !unanswered.some((later) => later.room === room)) heard[room] = null; // it may be tried again
    const error = { code: "rate_limited", detail: "", temporary: true, retry_after_ms: 1 };
    if (!standing.answered(refused ? ["live.error", error, { re: id }] : ["live.ok", {}, { re: id }])) faults.push("whose answer?");
  }

  const moves = [
    [8, put],
    [2, drop],
    [4, () => join(pick(ROOMS))],
    [1, reconnect],
    [1, () => leave(pick(ROOMS))],
    [5, answer],
    [2, () => turn()],
  ];
  const total = moves.reduce((sum, [weight]) => sum + weight, 0);
  for (let step = 0; step < steps && !faults.length; step++) {
    let chance = random() * total;
    await moves.find(([weight]) => (chance -= weight) < 0)[1]();
  }
  for (const room of ROOMS) join(room);
  do {
    while (unanswered.length) answer();
    await turn(5);
  } while (unanswered.length);
  for (const room of ROOMS) {
    const here = [...words.values()].filter((word) => word.room === room);
    const best = here.reduce((one, other) => (one && one.rank > other.rank ? one : other), undefined);
    if (best && holds[room] !== best.status) faults.push(`${room} ends as ${holds[room]}, not as ${best.status}`);
  }
  return faults.length ? faults.slice(0, 5) : null;
}
