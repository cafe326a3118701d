// Random tabs, readers and mishaps on one switchboard, against a server that keeps the protocol's promises for one
// subscription a room. Each reader must be told every event from its place on, once and in order, or load a snapshot.
// Gives what went wrong, or null. A page runs it: the modules are the site's own.
async ([seed, steps]) => {
  const { Emitter, parseCursor } = await import("/static/rooms/protocol.js");
  const { Switchboard } = await import("/static/rooms/switchboard.js");
  const { LiveRoom } = await import("/static/rooms/room.js");

  let state = seed;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(random() * n);
  const pick = (list) => list[below(list.length)];
  const turn = () => new Promise((done) => setTimeout(done));
  const MAX_REPLAY = 20;

  const log = { epoch: "e1", floor: 0, head: 0 };
  const cursorOf = (seq) => `${log.epoch}:${seq}`;

  class Server extends Emitter {
    state = { state: "stopped", everOpen: false };
    out = []; // frames on their way
    place = null; // of its one subscription
    present = false; // as the last join said
    unhandled = 0;
    watched = false;
    start() {
      if (this.state.state === "stopped") this.open();
    }
    open() {
      this.state = { state: "connected", transport: "websocket", everOpen: true };
      this.emit("state", this.state);
      this.emit("opened", { user: null, max_frame_bytes: 65536 });
    }
    stop() {
      this.lose("stopped");
    }
    lose(state = "reconnecting") {
      this.out = [];
      this.place = null;
      this.unhandled = 0;
      this.state = { state, everOpen: true };
      this.emit("state", this.state);
    }
    hurry() {}
    send([name, data, meta]) {
      if (name === "live.leave") {
        this.place = null;
        this.out.push([["live.ok", {}, { re: meta.id }]]);
      } else {
        const refused = random() < 0.05;
        if (refused) {
          const error = { code: "unavailable", detail: "", temporary: true, retry_after_ms: 1 };
          return this.out.push([["live.error", error, { re: meta.id }]]);
        }
        const given = data.cursor && parseCursor(data.cursor);
        const fits = given && given.epoch === log.epoch && given.seq >= log.floor && given.seq <= log.head;
        const verdict = !given ? "live" : fits && log.head - given.seq <= MAX_REPLAY ? "resumed" : "reset";
        const seq = verdict === "resumed" ? given.seq : log.head;
        const answer = { room: "r", verdict, cursor: cursorOf(seq), epoch: log.epoch, head: log.head, can: ["read"] };
        this.out.push([["live.ok", answer, { re: meta.id }]]);
        this.place = seq;
        this.present = data.present !== false;
        this.follow();
      }
    }
    follow() {
      while (this.place !== null && this.place < log.head) {
        const frame = [];
        while (this.place < log.head && frame.length < 4) frame.push(["event", {}, { room: "r", seq: ++this.place }]);
        this.out.push(frame);
      }
    }
    deliver() {
      const frame = this.out.shift();
      if (!frame) return;
      const counted = frame.some(([name]) => !name.startsWith("live."));
      const life = this.state;
      this.unhandled += counted;
      this.emit("heard", frame, counted ? () => (this.state === life ? (this.unhandled -= 1) : 0) : undefined);
    }
  }

  const server = new Server();
  const board = new Switchboard(server, { told: () => {}, faults: () => {} });
  const tabs = new Set();
  const faults = [];

  function openTab() {
    const tab = { readers: new Map(), inbox: [], painted: 0, frames: 0, turn: 0 };
    const { receive, unplug } = board.plug((message) => tab.inbox.push(message));
    Object.assign(tab, { receive, unplug });
    receive([["watched", random() < 0.5]]);
    tabs.add(tab);
  }

  function addReader(tab) {
    const id = `reader ${below(1e9)}`;
    const seq = random() < 0.7 ? Math.max(0, log.head - below(30)) : null;
    const present = random() < 0.3;
    const reader = { epoch: log.epoch, seq, fresh: seq === null, present };
    const room = new LiveRoom(
      "r",
      {
        cursor: seq === null ? undefined : cursorOf(seq),
        present,
        snapshot: async () => {
          const cursor = cursorOf(log.head);
          return { cursor, show: () => Object.assign(reader, parseCursor(cursor), { fresh: false }) };
        },
      },
      {
        join: (...question) => tab.receive([["join", tab.turn, id, "r", ...question]]),
        leave: () => tab.receive([["leave", tab.turn, id, "r"]]),
      },
    );
    room.on("joined", ({ verdict, cursor }) => {
      if (verdict !== "live") return;
      Object.assign(reader, parseCursor(cursor), { fresh: false });
    });
    room.on("event", (_, { seq }) => {
      if (reader.fresh) faults.push(`${id}: an event before the join was answered`);
      if (seq !== reader.seq + 1) faults.push(`${id}: ${seq} after ${reader.seq}`);
      reader.seq = seq;
    });
    tab.readers.set(id, { reader, room });
    room.join();
  }

  function hear(tab) {
    const message = tab.inbox.shift();
    if (!message) return;
    const [kind, heard, counted] = message;
    if (kind === "opened") tab.turn = counted;
    if (kind === "opened") for (const { room } of tab.readers.values()) room.reopened();
    if (kind !== "heard") return;
    for (const [vector, ids] of heard) for (const id of ids ?? []) tab.readers.get(id)?.room.hear(vector);
    tab.frames += counted;
  }

  const moves = [
    [6, () => ((log.head += 1 + below(3)), server.follow())],
    [8, () => server.deliver()],
    [14, () => hear(pick([...tabs]))],
    [6, () => paint(pick([...tabs]))],
    [2, () => tabs.size < 5 && openTab()],
    [1, () => tabs.size > 1 && close(pick([...tabs]))],
    [3, () => pick([...tabs]).readers.size < 3 && addReader(pick([...tabs]))],
    [1, () => leave(pick([...tabs]))],
    [1, () => rejoin(pick([...tabs]))],
    [0.5, () => (server.lose(), server.open())],
    [0.3, () => (log.floor = Math.max(log.floor, log.head - 5))],
    [0.2, () => newHistory()],
    [4, () => turn()],
  ];
  function paint(tab) {
    if (tab.painted < tab.frames) tab.receive([["painted", (tab.painted = tab.frames)]]);
  }
  function close(tab) {
    tabs.delete(tab);
    tab.unplug();
  }
  function leave(tab) {
    const [id, { room } = {}] = [...tab.readers][0] ?? [];
    room?.leave();
    tab.readers.delete(id);
  }
  function rejoin(tab) {
    for (const { room } of tab.readers.values()) room.join();
  }
  function newHistory() {
    Object.assign(log, { epoch: `e${below(1e6)}`, floor: 0, head: below(5) });
    if (server.place === null) return;
    server.place = log.head;
    server.out.push([["live.reset", { cursor: cursorOf(log.head), reason: "" }, { room: "r" }]]);
  }

  openTab();
  const total = moves.reduce((sum, [weight]) => sum + weight, 0);
  for (let step = 0; step < steps && !faults.length; step++) {
    let chance = random() * total;
    await moves.find(([weight]) => (chance -= weight) < 0)[1]();
  }
  // in the end everybody is where the room is, and the server waits for nobody
  for (let quiet = 0; quiet < 40; ) {
    const busy = server.out.length || [...tabs].some((tab) => tab.inbox.length || tab.painted < tab.frames);
    quiet = busy ? 0 : quiet + 1;
    server.deliver();
    for (const tab of tabs) hear(tab), paint(tab);
    await turn();
  }
  for (const tab of tabs) {
    for (const { reader } of tab.readers.values()) {
      if (reader.epoch !== log.epoch || reader.seq !== log.head) {
        faults.push(`a reader ends at ${reader.epoch}:${reader.seq}, the room at ${cursorOf(log.head)}`);
      }
    }
  }
  const here = [...tabs].some((tab) => [...tab.readers.values()].some(({ reader }) => reader.present));
  if (server.place !== null && server.present !== here) faults.push(`somebody is ${here ? "" : "not "}here unseen`);
  if (server.unhandled) faults.push(`${server.unhandled} frames are never acknowledged`);
  return faults.length ? faults.slice(0, 5) : null;
};
