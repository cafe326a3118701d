// Tabs of which one holds the connection, and the others reach it over a channel: for browsers without shared workers.
// Who holds the lock leads. When that tab closes, the next one has the lock, and all begin anew with it.

import { board } from "./board.js";
import { csrfToken } from "./http.js";
import { hold, released } from "./locks.js";
import { newId } from "./protocol.js";

const ANSWER = 3_000; // ms in which a leader that is awake says something

/** @type {import("./hosts.js").OpenHost} */
export function amongTabs(setup, hear, lost) {
  const tab = `rooms.tab:${newId()}`;
  const leading = `rooms.leader:${setup.key}`;
  const channel = new BroadcastChannel(`rooms:${setup.key}`);
  const life = new AbortController();
  const { signal } = life;
  /** By tab, while we lead. @type {Map<string, ReturnType<import("./switchboard.js").Switchboard["plug"]>> | null} */
  let plugs = null;
  /** @type {number | undefined} */
  let unanswered;
  let watched = false; // as it was said last: whoever comes to lead is told

  function close() {
    clearTimeout(unanswered);
    if (!signal.aborted && !plugs) channel.postMessage({ from: tab, left: true });
    life.abort();
    for (const { unplug } of plugs?.values() ?? []) unplug();
    channel.close();
  }

  function end() {
    if (signal.aborted) return;
    close();
    lost();
  }

  function lead() {
    if (plugs || signal.aborted) return;
    clearTimeout(unanswered);
    const shared = board(setup, csrfToken);
    plugs = new Map();
    channel.postMessage({ led: true });
    plugs.set(tab, shared.plug(hear));
    plugs.get(tab)?.receive([["watched", watched]]);
    channel.onmessage = ({ data: { from, messages, comes, left } }) => {
      if (comes) {
        plugs?.set(from, shared.plug((message) => channel.postMessage({ to: from, message })));
        released(from, signal).then(() => unplug(from));
      } else if (left) unplug(from);
      else if (messages) plugs?.get(from)?.receive(messages);
    };
  }

  /** @param {string} from */
  function unplug(from) {
    plugs?.get(from)?.unplug();
    plugs?.delete(from);
  }

  /** A browser may freeze a tab that nobody looks at, with its lock. Somebody looks at this one. */
  function expectAnswer() {
    clearTimeout(unanswered);
    if (!document.hidden) unanswered = setTimeout(() => hold(leading, signal, { steal: true, robbed: end }).then(lead), ANSWER);
  }

  channel.onmessage = ({ data: { to, message, led } }) => {
    if (led) end(); // what the one before it knew of us is gone
    if (to !== tab) return;
    clearTimeout(unanswered);
    hear(message);
  };
  hold(tab, signal).then(() => {
    if (plugs) return;
    channel.postMessage({ from: tab, comes: true });
    channel.postMessage({ from: tab, messages: [["watched", watched]] });
    expectAnswer();
  });
  hold(leading, signal, { robbed: end }).then(lead);

  return {
    post(messages) {
      const looks = messages.findLast(([kind]) => kind === "watched");
      if (looks) watched = looks[1];
      if (plugs) return plugs.get(tab)?.receive(messages);
      channel.postMessage({ from: tab, messages });
      if (looks) expectAnswer();
    },
    close,
  };
}
